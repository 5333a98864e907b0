import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references.normalize import every_map, minmax
from tests.references.resize import resize
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine import multiply_maps


@st.composite
def pyramids(draw):
    """One to four maps of one batch on any grids."""
    lead = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    g = generator(draw(SEEDS))
    sizes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    return [torch.rand(*lead, *size, generator=g, dtype=torch.float64) for size in sizes]


@given(pyramids())
def test_matches_reference(maps):
    size = max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)
    product = 1.0
    for one in maps:
        product = product * every_map(lambda m: resize(m, size), one.numpy())
    expected = torch.from_numpy(every_map(minmax, np.asarray(product)))
    assert_close(multiply_maps(maps), expected)


@given(pyramids(), FLIPS, st.integers(-20, 20))
def test_invariances(maps, how, exponent):
    out = multiply_maps(maps)
    assert ((out >= 0) & (out <= 1)).all()
    assert_close(multiply_maps([flip(m, how) for m in maps]), flip(out, how))
    assert_close(multiply_maps(maps[::-1]), out)
    assert_close(multiply_maps([maps[0] * 2.0**exponent, *maps[1:]]), out)
    assert_close(multiply_maps([m[:1] for m in maps]), out[:1])


def test_one_map_is_minmaxed_and_none_becomes_zero():
    maps = torch.tensor([[[2.0, 4.0, 6.0]]])
    assert_close(multiply_maps([maps]), torch.tensor([[[0.0, 0.5, 1.0]]]))
    assert_close(multiply_maps([maps, torch.zeros(1, 2, 2)]), torch.zeros(1, 2, 3))


def test_many_maps_in_half_precision_do_not_underflow():
    small = torch.tensor([[[0.0, 1e-3, 2e-3]]], dtype=torch.float16)
    out = multiply_maps([small, small, small])
    assert_close(out, torch.tensor([[[0.0, 0.125, 1.0]]], dtype=torch.float16), rtol=2e-3, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_zeroes_its_map_alone(bad):
    maps = [torch.rand(2, 2, 4, 4), torch.rand(2, 2, 3, 5)]
    expected = multiply_maps(maps)
    maps[1][1, 0, 2, 2] = bad
    expected[1, 0] = 0
    assert_close(multiply_maps(maps), expected)
    maps[1][1, 0] = 0.0  # zero times infinity is not a map either
    maps[0][1, 0] = bad
    assert_close(multiply_maps(maps), expected)


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        ([], ValueError, "maps: expected at least one tensor, got []"),
        ([[1.0]], TypeError, "maps[0]: expected a torch.Tensor, got list"),
        (
            [torch.ones(2, 2)],
            ValueError,
            "maps[0]: expected shape (B, H, W) or (B, K, H, W), got (2, 2)",
        ),
        (
            [torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.int64)],
            TypeError,
            "maps[1]: expected a floating-point dtype, got torch.int64",
        ),
        (
            [torch.ones(1, 2, 2), torch.ones(1, 2, 2).double()],
            TypeError,
            "maps[1]: expected torch.float32 as maps[0], got torch.float64",
        ),
    ],
)
def test_errors(maps, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        multiply_maps(maps)


def test_batches_must_agree():
    with pytest.raises(
        ValueError, match=r"^maps\[1\]: expected .* with B=1 from maps\[0\], got \(2, 2, 2\)$"
    ):
        multiply_maps([torch.ones(1, 2, 2), torch.ones(2, 2, 2)])
