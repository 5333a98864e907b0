import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import SEEDS, generator
from wsolrefine import outline, thin


def reference(mask):
    """Visit each pixel: it is an object's, and one of its four neighbors is background."""
    height, width = mask.shape
    found = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            inside = [(i, j) for i, j in around if 0 <= i < height and 0 <= j < width]
            found[y, x] = mask[y, x] == 1 and any(mask[i, j] == 0 for i, j in inside)
    return thin(found[None])[0]


@given(seed=SEEDS, height=st.integers(1, 9), width=st.integers(1, 9))
def test_matches_the_reference(seed, height, width):
    labels = torch.tensor([0, 1, 1, 255], dtype=torch.uint8)
    masks = labels[torch.randint(4, (3, height, width), generator=generator(seed))]
    assert torch.equal(outline(masks), torch.stack([reference(mask) for mask in masks]))


def test_the_outline_of_a_mask():
    mask = torch.zeros(7, 8, dtype=torch.uint8)
    mask[2:5, 1:5] = 1
    mask[2:5, 5:] = 255  # neither: no line towards it
    expected = torch.zeros(7, 8, dtype=torch.bool)
    expected[3, 1] = expected[2, 2:5] = expected[4, 2:5] = True  # steps are slanting
    assert torch.equal(outline(mask[None])[0], expected)


def test_no_line_where_the_border_cuts_off_and_none_without_an_object():
    assert not outline(torch.ones(1, 4, 4, dtype=torch.uint8)).any()
    assert not outline(torch.zeros(1, 4, 4, dtype=torch.uint8)).any()
    assert outline(torch.zeros(0, 4, 4, dtype=torch.int64)).shape == (0, 4, 4)


def test_wrong_masks_are_refused():
    with pytest.raises(TypeError, match=r"^mask: expected an integer dtype, got torch.float32$"):
        outline(torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match=r"^mask: expected shape \(B, H, W\), got \(4, 4\)$"):
        outline(torch.zeros(4, 4, dtype=torch.uint8))
