import re

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import components as reference
from tests.references.normalize import every_map
from tests.support.strategies import FLIPS, flip, masks
from wsolrefine import connected_components
from wsolrefine.functional._propagation import (
    _all_rounds,
    _neighbors,
    _round,
    label_by_propagation,
    steps_of_rounds,
)
from wsolrefine.functional.components import _label_scipy


def label_in_transform(mask, connectivity):
    """The labels that vmap gives, which does as many rounds as any mask can need."""
    if mask.shape[0] == 0:
        return _label_scipy(mask, connectivity)
    each = torch.func.vmap(lambda one: label_by_propagation(one[None], connectivity)[0])
    return each(mask)


CONNECTIVITY = st.sampled_from([4, 8])
ALGORITHMS = [_label_scipy, label_by_propagation, label_in_transform]


def expected(mask, connectivity):
    return torch.from_numpy(every_map(lambda m: reference.label(m, connectivity), mask.numpy()))


@given(masks(), CONNECTIVITY)
def test_matches_reference(mask, connectivity):
    out = connected_components(mask, connectivity=connectivity)
    assert out.dtype == torch.int64
    assert torch.equal(out, expected(mask, connectivity))


@given(masks())
def test_default_is_eight(mask):
    assert torch.equal(connected_components(mask), connected_components(mask, connectivity=8))


@given(masks(with_maps=False), CONNECTIVITY)
def test_both_algorithms_give_the_same_labels(mask, connectivity):
    labels = expected(mask, connectivity)
    for algorithm in ALGORITHMS:
        out = algorithm(mask, connectivity)
        assert out.dtype == torch.int64
        assert torch.equal(out, labels)


@given(masks(maximum=30, with_maps=False), CONNECTIVITY)
def test_labels_are_a_partition_into_connected_pieces(mask, connectivity):
    labels = connected_components(mask, connectivity=connectivity)
    assert torch.equal(labels == 0, ~mask)
    pairs = [(labels[:, 1:], labels[:, :-1]), (labels[:, :, 1:], labels[:, :, :-1])]
    if connectivity == 8:
        pairs.append((labels[:, 1:, 1:], labels[:, :-1, :-1]))
        pairs.append((labels[:, 1:, :-1], labels[:, :-1, 1:]))
    for one, other in pairs:  # neighbors agree
        both = (one > 0) & (other > 0)
        assert torch.equal(one[both], other[both])
    structure = np.ones((3, 3)) if connectivity == 8 else None
    for one, inside in zip(labels, mask, strict=True):
        values, first = np.unique(one.numpy()[inside.numpy()], return_index=True)
        assert values.tolist() == list(range(1, len(values) + 1))  # no gap
        assert (np.diff(first) > 0).all()  # in raster order of the first pixel
        assert len(values) == scipy.ndimage.label(inside.numpy(), structure)[1]


@given(masks(maximum=12), CONNECTIVITY, FLIPS)
def test_a_flip_keeps_the_pieces(mask, connectivity, how):
    labels = connected_components(mask, connectivity=connectivity)
    flipped = flip(connected_components(flip(mask, how), connectivity=connectivity), how)
    h, w = mask.shape[-2:]
    for image in torch.stack([labels, flipped], -1).reshape(-1, h * w, 2):
        found = {tuple(pair) for pair in image.tolist()}
        assert len(found) == len({a for a, _ in found}) == len({b for _, b in found})


def spiral(side):
    """A path one pixel wide that winds to the center with one pixel between its turns."""
    mask = np.zeros((side, side), dtype=bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = True
    for length in [side - 1] + [n for n in range(side - 1, 0, -2) for _ in range(2)]:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
    return torch.from_numpy(mask)


def snake(h, w):
    """Full rows joined at alternating ends: the longest way through the grid."""
    mask = np.zeros((h, w), dtype=bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return torch.from_numpy(mask)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("side", [9, 33, 64])
def test_long_paths_are_one_component(algorithm, connectivity, side):
    path = spiral(side)
    assert path.sum() > side * side / 3
    shapes = [path, path.flip(0), path.mT, path.flip(0, 1), snake(side, side), snake(side, side).mT]
    shapes += [snake(side, side).flip(0), torch.zeros_like(path), torch.ones_like(path)]
    mask = torch.stack(shapes)
    out = algorithm(mask, connectivity)
    assert torch.equal(out, mask.long())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_cut_path_is_two_components(algorithm):
    path = snake(31, 20)
    path[15] = False
    out = algorithm(path[None], 8)
    assert torch.equal(out, expected(path[None], 8))
    assert out.max() == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("connectivity", [4, 8])
def test_images_do_not_touch(algorithm, connectivity):
    """The last row of an image is not a neighbor of the first row of the next."""
    mask = torch.ones(4, 3, 5, dtype=torch.bool)
    mask[2] = False
    assert torch.equal(algorithm(mask, connectivity), mask.long())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_end_of_a_row_does_not_touch_the_next(algorithm):
    mask = torch.tensor([[[0, 0, 1], [1, 0, 0], [0, 0, 1]]], dtype=torch.bool)
    for connectivity in (4, 8):
        assert algorithm(mask, connectivity).tolist() == [[[0, 0, 1], [2, 0, 0], [0, 0, 3]]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("density", [0.4, 0.6])
def test_noise_at_full_size(algorithm, density):
    """Percolation: near these densities components wind through the whole image."""
    mask = torch.rand(2, 120, 90, generator=torch.Generator().manual_seed(0)) < density
    for connectivity in (4, 8):
        assert torch.equal(algorithm(mask, connectivity), expected(mask, connectivity))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (2, 1, 6), (2, 6, 1)])
def test_small_shapes(algorithm, shape):
    for mask in (torch.zeros(shape, dtype=torch.bool), torch.ones(shape, dtype=torch.bool)):
        assert torch.equal(algorithm(mask, 4), mask.long())


@pytest.mark.parametrize(
    ("mask", "connectivity", "error", "message"),
    [
        (torch.ones(1, 2, 2), 8, TypeError, "mask: expected dtype torch.bool, got torch.float32"),
        ([[True]], 8, TypeError, "mask: expected a torch.Tensor, got list"),
        (
            torch.ones(2, 2, dtype=torch.bool),
            8,
            ValueError,
            "mask: expected shape (B, H, W) or (B, K, H, W), got (2, 2)",
        ),
        (
            torch.ones(1, 2, 2, dtype=torch.bool),
            6,
            ValueError,
            "connectivity: expected 4 or 8, got 6",
        ),
    ],
)
def test_errors(mask, connectivity, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        connected_components(mask, connectivity=connectivity)


def labels_after(mask, rounds):
    """The numbers of labels of the largest component after 0, 1, ... complete rounds."""
    index = torch.arange(mask.numel())
    around = _neighbors(mask[None], index.view(mask[None].shape), 8)
    label, counts = index, []
    inside = (_label_scipy(mask[None], 8) == 1).flatten()
    for _ in range(rounds + 1):
        counts.append(len(label[inside].unique()))
        label = _round(label, around, len(index).bit_length())
    return counts


@given(masks(maximum=16, with_maps=False))
def test_two_rounds_halve_the_labels_of_a_component(mask):
    if not mask.numel() or not mask[0].any():
        return
    counts = labels_after(mask[0], 8)
    for before, after in zip(counts, counts[2:], strict=False):
        assert after == 1 or after <= before // 2


def test_the_bound_on_rounds_is_that_of_the_proof():
    assert steps_of_rounds(1) == []
    assert steps_of_rounds(2) == [1, 1]
    assert steps_of_rounds(5) == [3, 3, 1, 1]
    assert len(steps_of_rounds(224 * 224)) == 2 * 15


@pytest.mark.parametrize("side", [5, 9, 17])
def test_a_path_with_labels_in_the_worst_order(side):
    """Chains of labels are longest where each label's least neighbor is the next of the path."""
    mask = torch.stack([spiral(side), spiral(side).flip(0, 1), snake(side, side).flip(1)])
    index = torch.arange(mask.numel())
    around = _neighbors(mask, index.view(mask.shape), 4)
    label = _all_rounds(index, around, side * side).view(mask.shape)
    assert all(len(one[inside].unique()) == 1 for one, inside in zip(label, mask, strict=True))
