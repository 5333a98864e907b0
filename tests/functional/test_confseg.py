import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import confseg as reference
from tests.references.normalize import every_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator, maps
from wsolrefine import confseg, confseg_thresholds


@st.composite
def exact_maps(draw):
    """Integers on a power-of-two number of pixels: means and distances have no rounding."""
    size = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (1, 8), (4, 2), (4, 4), (8, 4)]))
    shape, g = (draw(st.integers(1, 3)), *size), generator(draw(SEEDS))
    return torch.randint(-9, 10, shape, generator=g).to(
        draw(st.sampled_from([torch.float32, torch.float64]))
    )


@given(maps())
def test_thresholds_are_the_mean_minus_and_plus_the_mean_distance(cam):
    low, high = confseg_thresholds(cam)
    means = torch.from_numpy(every_map(lambda m: np.array(reference.means(m)), cam.numpy()))
    mu1, mu2 = means.unbind(-1)
    flat = cam.flatten(-2).amin(-1) == cam.flatten(-2).amax(-1)
    assert_close(low[~flat], (mu1 - mu2)[~flat])
    assert_close(high[~flat], (mu1 + mu2)[~flat])
    assert torch.equal(low[flat], cam.flatten(-2).amin(-1)[flat])
    assert torch.equal(high[flat], cam.flatten(-2).amax(-1)[flat])


@given(maps())
def test_is_exactly_what_lies_beyond_the_thresholds(cam):
    confident, foreground, background = confseg(cam)
    low, high = confseg_thresholds(cam)
    assert torch.equal(foreground, cam > high[..., None, None])
    assert torch.equal(background, cam < low[..., None, None])
    assert torch.equal(confident, foreground | background)
    assert not (foreground & background).any()


@given(maps())
def test_matches_the_distance_form_but_for_rounding_ties(cam):
    masks = every_map(lambda m: np.stack(reference.mask(m)), cam.numpy())
    expected, margin = torch.from_numpy(masks).unbind(-3)
    decided = margin > 1e-12 * cam.abs().amax()
    confident = confseg(cam).confident
    assert torch.equal(confident[decided], expected[decided].bool())


@given(exact_maps())
def test_matches_the_distance_form_exactly_without_rounding(cam):
    mu1 = cam.mean((-2, -1), keepdim=True)
    distance = (cam - mu1).abs()
    mu2 = distance.mean((-2, -1), keepdim=True)
    confident, foreground, background = confseg(cam)
    assert torch.equal(confident, distance > mu2)
    assert torch.equal(foreground, cam > mu1 + mu2)
    assert torch.equal(background, cam < mu1 - mu2)


@given(exact_maps(), st.integers(-6, 6), st.integers(-50, 50))
def test_positive_affine_maps_change_nothing(cam, exponent, shift):
    for one, other in zip(confseg(cam), confseg(cam * 2.0**exponent), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(confseg(cam), confseg((cam + shift) * 2.0**exponent), strict=True):
        assert torch.equal(one, other)


@given(exact_maps())
def test_a_negative_factor_swaps_the_sides(cam):
    confident, foreground, background = confseg(cam)
    negative = confseg(-cam)
    assert torch.equal(negative.confident, confident)
    assert torch.equal(negative.foreground, background)
    assert torch.equal(negative.background, foreground)


@given(exact_maps(), FLIPS)
def test_flips(cam, how):
    for one, other in zip(confseg(flip(cam, how)), confseg(cam), strict=True):
        assert torch.equal(one, flip(other, how))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1000.1])
def test_a_map_constant_up_to_rounding_selects_nothing(dtype, value):
    cam = torch.full((2, 5, 7), value, dtype=dtype)
    cam[1, 2, 3] += cam[1, 2, 3].abs() * 2 * torch.finfo(dtype).eps
    low, high = confseg_thresholds(cam)
    assert torch.equal(low, cam.amin((-2, -1)))
    assert torch.equal(high, cam.amax((-2, -1)))
    assert not any(mask.any() for mask in confseg(cam))


def test_one_peak():
    cam = torch.zeros(1, 2, 4)
    cam[0, 1, 2] = 8.0  # mu1 = 1, mu2 = (7 + 7) / 8 = 1.75
    assert_close(torch.stack(confseg_thresholds(cam)), torch.tensor([[-0.75], [2.75]]))
    assert torch.equal(confseg(cam).foreground, cam == 8)
    assert not confseg(cam).background.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_map_that_is_not_finite_selects_nothing(bad):
    cam = torch.rand(3, 4, 4)
    expected = [mask.clone() for mask in confseg(cam)]
    cam[1, 0, 0] = bad
    for out, mask in zip(confseg(cam), expected, strict=True):
        mask[1] = False
        assert torch.equal(out, mask)


@pytest.mark.parametrize("function", [confseg, confseg_thresholds])
@pytest.mark.parametrize(
    ("cam", "error", "message"),
    [
        ([[1.0]], TypeError, "cam: expected a torch.Tensor, got list"),
        (
            torch.ones(2, 2, dtype=torch.bool),
            TypeError,
            "cam: expected a floating-point dtype, got torch.bool",
        ),
        (torch.ones(4), ValueError, "cam: expected shape (..., H, W), got (4,)"),
    ],
)
def test_errors(function, cam, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        function(cam)
