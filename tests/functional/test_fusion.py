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

POWERS = st.sampled_from([0.1, 0.5, 1, 1.5, 3])


@st.composite
def pyramids(draw):
    """One to four maps of one batch on any grids."""
    lead = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    g = generator(draw(SEEDS))
    sizes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    return [torch.rand(*lead, *size, generator=g, dtype=torch.float64) for size in sizes]


def expected_of(maps, powers):
    """Return the min-maxed product of powers, by the formula."""
    size = max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)
    product = 1.0
    for one, power in zip(maps, powers, strict=True):
        product = product * every_map(lambda m: resize(m, size), one.numpy().clip(0)) ** power
    return torch.from_numpy(every_map(minmax, np.asarray(product)))


@given(pyramids())
def test_matches_reference(maps):
    assert_close(multiply_maps(maps), expected_of(maps, [1] * len(maps)))


@given(pyramids(), st.data())
def test_powers_match_reference(maps, data):
    powers = data.draw(st.lists(POWERS, min_size=len(maps), max_size=len(maps)))
    if data.draw(st.booleans()):
        maps = [m - 0.5 for m in maps]  # negative values count as zero
    assert_close(multiply_maps(maps, powers=powers), expected_of(maps, powers))


@given(pyramids(), POWERS, FLIPS, st.integers(-20, 20))
def test_invariances_of_powers(maps, power, how, exponent):
    powers = [power, *[1.0] * (len(maps) - 1)]
    out = multiply_maps(maps, powers=powers)
    assert ((out >= 0) & (out <= 1)).all()
    assert_close(multiply_maps([flip(m, how) for m in maps], powers=powers), flip(out, how))
    assert_close(multiply_maps(maps[::-1], powers=powers[::-1]), out)
    assert_close(multiply_maps([maps[0] * 2.0**exponent, *maps[1:]], powers=powers), out)
    assert_close(multiply_maps([m[:1] for m in maps], powers=powers), out[:1])
    assert torch.equal(multiply_maps(maps, powers=[1] * len(maps)), multiply_maps(maps))
    twice = [maps[0], maps[0], *maps[1:]]
    assert_close(multiply_maps(twice, powers=[power / 2, power / 2, *powers[1:]]), out)


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


def test_a_power_is_the_weight_of_a_map():
    """A small one says little, a large one much."""
    first, second = torch.tensor([[[0.2, 1.0, 0.8]]]), torch.tensor([[[1.0, 0.2, 0.8]]])
    for powers, best in (((1, 1), 2), ((1, 0.1), 1), ((0.1, 1), 0)):
        assert multiply_maps([first, second], powers=powers).argmax() == best


@pytest.mark.parametrize("power", [1e-30, 1e-3, 1e3, 1e30])
def test_extreme_powers_are_finite(power):
    maps = torch.tensor([[[0.0, 1e-30, 0.5, 1.0]]], requires_grad=True)
    out = multiply_maps([maps], powers=[power])
    assert (out[0, 0, 0], out[0, 0, -1]) == (0, 1)
    assert out.isfinite().all()
    out.sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_powers_in_half_precision_are_taken_in_single_precision(dtype):
    maps = [torch.rand(1, 4, 4, generator=generator(seed)).to(dtype) for seed in (0, 1)]
    single = multiply_maps([m.float() for m in maps], powers=[0.5, 7])
    assert torch.equal(multiply_maps(maps, powers=[0.5, 7]), single.to(dtype))


@pytest.mark.parametrize("powers", [(1, 1), (0.5, 2), (3, 0.1)])
def test_gradients_of_powers(powers):
    g = generator(2)
    maps = [torch.rand(1, *s, generator=g, dtype=torch.float64) for s in ((3, 4), (2, 2))]
    maps = [(0.1 + m).requires_grad_() for m in maps]
    torch.autograd.gradcheck(lambda *m: multiply_maps(m, powers=powers), maps)


def test_the_gradient_of_a_root_at_zero_is_zero():
    maps = torch.tensor([[[0.0, -1.0, 0.5, 1.0]]], requires_grad=True)
    multiply_maps([maps], powers=[0.5])[0, 0, :3].sum().backward()
    assert maps.grad.isfinite().all()
    assert maps.grad[0, 0, :2].tolist() == [0, 0]
    assert maps.grad[0, 0, 2] > 0


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


@pytest.mark.parametrize(
    ("powers", "error", "message"),
    [
        ([1], ValueError, "powers: expected 2 as there are maps, got 1"),
        ([1, 2, 3], ValueError, "powers: expected 2 as there are maps, got 3"),
        ([1, 0], ValueError, "powers: expected finite numbers > 0, got [1, 0]"),
        ([1, -1], ValueError, "powers: expected finite numbers > 0, got [1, -1]"),
        ([1, float("nan")], ValueError, "powers: expected finite numbers > 0, got [1, nan]"),
        ([1, float("inf")], ValueError, "powers: expected finite numbers > 0, got [1, inf]"),
        (["1", 1], TypeError, "powers: expected finite numbers > 0, got one of type str"),
        (2, TypeError, "powers: expected finite numbers > 0, got int"),
    ],
)
def test_errors_of_powers(powers, error, message):
    maps = [torch.rand(1, 2, 2), torch.rand(1, 2, 2)]
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        multiply_maps(maps, powers=powers)
