import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import normalize as reference
from tests.support.strategies import FLIPS, flip, maps
from wsolrefine import minmax


@given(maps())
def test_matches_reference(values):
    expected = torch.from_numpy(reference.every_map(reference.minmax, values.numpy()))
    assert_close(minmax(values), expected)


@given(maps())
def test_every_map_spans_zero_to_one_or_is_zero(values):
    out = minmax(values).flatten(-2)
    assert out.amin(-1).eq(0).all()
    assert ((out.amax(-1) == 1) | (out.amax(-1) == 0)).all()
    constant = values.flatten(-2).amin(-1) == values.flatten(-2).amax(-1)
    assert torch.equal(constant, out.amax(-1) == 0)


@given(maps(), st.floats(1e-3, 1e3), st.floats(-5, 5), FLIPS)
def test_invariances(values, scale, shift, how):
    out = minmax(values)
    assert_close(minmax(values * scale), out)
    assert_close(minmax(out), out)
    assert torch.equal(minmax(flip(values, how)), flip(out, how))
    if values.unique().numel() > 1:
        assert_close(minmax(values * scale + shift), out)


@given(maps(), st.integers(-100, 100))
def test_scaling_by_a_power_of_two_changes_nothing(values, exponent):
    values = values.float()
    assert torch.equal(minmax(values * 2.0**exponent), minmax(values))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_constant_up_to_eight_roundings_is_flat(dtype, sign):
    eps = torch.finfo(dtype).eps
    values = torch.tensor([[1.0, 1.0 + 8 * eps], [1.0 + 4 * eps, 1.0]], dtype=dtype) * sign
    assert torch.equal(minmax(values), torch.zeros_like(values))
    values = torch.tensor([[1.0, 1.0 + 16 * eps]], dtype=dtype) * sign
    assert minmax(values).max() == 1


def test_small_maps_are_not_flat():
    values = torch.tensor([[0.0, 1e-30], [5e-31, 1e-30]])
    assert_close(minmax(values), torch.tensor([[0.0, 1.0], [0.5, 1.0]]))


def test_the_widest_range_of_half_precision_does_not_overflow():
    values = torch.tensor([[-65504.0, 0.0, 65504.0]], dtype=torch.float16)
    assert_close(minmax(values), torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_map_that_is_not_finite_becomes_zero_and_leaves_the_others(bad):
    values = torch.rand(2, 3, 4, 5)
    expected = minmax(values)
    values[1, 2, 3, 4] = bad
    expected[1, 2] = 0
    assert torch.equal(minmax(values), expected)


def test_a_constant_map_has_a_finite_gradient():
    values = torch.full((1, 3, 3), 2.0, requires_grad=True)
    minmax(values).sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[1.0]], TypeError, "maps: expected a torch.Tensor, got list"),
        (
            torch.ones(2, 2, dtype=torch.int64),
            TypeError,
            "maps: expected a floating-point dtype, got torch.int64",
        ),
        (torch.ones(4), ValueError, "maps: expected shape (..., H, W), got (4,)"),
        (torch.ones(()), ValueError, "maps: expected shape (..., H, W), got ()"),
    ],
)
def test_errors(values, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        minmax(values)
