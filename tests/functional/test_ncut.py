import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import eigenmaps as reference
from tests.references.batch import each_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator, object_scene, rotate, scenes
from wsolrefine import ncut

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
# No cosine of few layers of one channel, which are 0, 1 / 3, 1 / 2 and so on.
THRESHOLDS = st.sampled_from([-0.4137, 0.2137, 0.5137, 0.8137])
CLOSE = {"rtol": 0, "atol": 1e-6}


@given(scenes(), THRESHOLDS)
def test_matches_the_generalized_eigenvectors_of_scipy(scene, threshold):
    expected = each_map(
        lambda cam, layers: reference.ncut(cam, layers, scene.grid, threshold),
        scene.cam,
        scene.layers,
    )
    assert_close(ncut(scene.cam, scene.features, threshold=threshold), expected, **CLOSE)


@given(scenes(), SIZES)
def test_matches_them_on_another_grid(scene, size):
    expected = each_map(
        lambda cam, layers: reference.ncut(cam, layers, size, 0.2), scene.cam, scene.layers
    )
    assert_close(ncut(scene.cam, scene.features, size=size), expected, **CLOSE)


@given(scenes(), FLIPS, SEEDS, st.integers(-20, 20), THRESHOLDS)
def test_invariances(scene, how, seed, exponent, threshold):
    out = ncut(scene.cam, scene.features, threshold=threshold)
    assert ((out >= 0) & (out <= 1)).all()
    scale = 2.0**exponent

    def again(change, cam=scene.cam):
        return ncut(cam, scene.map(change).features, threshold=threshold)

    assert_close(again(lambda f: scale * f), out, **CLOSE)
    assert_close(again(lambda f: rotate(f, seed)), out, **CLOSE)
    assert_close(again(lambda f: f, scale * scene.cam + 1), out, **CLOSE)
    assert_close(again(lambda f: flip(f, how), flip(scene.cam, how)), flip(out, how), **CLOSE)
    assert_close(again(lambda f: f[:1], scene.cam[:1]), out[:1], **CLOSE)
    opposite = again(lambda f: f, -scene.cam)  # the other side of the mean
    assert_close(out * opposite, torch.zeros_like(out), **CLOSE)


@given(scenes(with_maps=False), SEEDS)
def test_maps_of_one_image_do_not_influence_each_other(scene, seed):
    other = torch.rand(scene.cam.shape, generator=generator(seed), dtype=scene.cam.dtype)
    out = ncut(torch.stack([scene.cam, other], 1), scene.features)
    assert_close(out[:, 0], ncut(scene.cam, scene.features), **CLOSE)
    assert_close(out[:, 1], ncut(other, scene.features), **CLOSE)


def test_the_object_is_where_the_cam_is():
    cam, features, inside = object_scene()
    assert torch.equal(ncut(cam, features)[0] > 0, inside)
    assert torch.equal(ncut(-cam, features)[0] > 0, ~inside)


# Three groups of two positions that are alike only within, so that two eigenvalues are equal.
GROUPS = torch.eye(3).repeat_interleave(2, 1)[None, :, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("cam", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 1.0, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
        ([0.0, 0.5, 1.5, 1.0, 0.0, 0.5], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
        ([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_of_equal_cuts_the_one_that_correlates_most(cam, expected, dtype):
    """No cut between equal groups is the second; the CAM decides, also that there is none."""
    out = ncut(torch.tensor([[cam]], dtype=dtype), GROUPS.to(dtype))
    assert_close(out, torch.tensor([[expected]], dtype=dtype))


@pytest.mark.parametrize("side", [2, 14, 28])
def test_where_all_positions_are_alike_the_map_is_zero(side):
    cam, features = torch.rand(1, side, side), 1 + 0.1 * torch.rand(1, 5, side, side)
    assert not ncut(cam, features).any()
    assert not ncut(cam, torch.zeros(1, 5, side, side)).any()
    centered = features - features.mean((2, 3), keepdim=True)
    assert ncut(cam, centered).any()


def test_where_no_positions_are_alike_every_cut_is_as_good():
    cam, features = torch.rand(1, 2, 3), torch.eye(6).view(1, 6, 2, 3)
    expected = (cam - cam.mean()).relu()
    assert_close(ncut(cam, features), expected / expected.amax())


def test_what_is_constant_gives_a_zero_map():
    features = torch.randn(1, 2, 4, 4, generator=generator(0))
    assert not ncut(torch.ones(1, 4, 4), features).any()
    assert not ncut(torch.ones(1, 1, 1), features[..., :1, :1]).any()
    assert not ncut(torch.rand(1, 1, 8), torch.randn(1, 2, 4, 1)).any()  # constant on one column


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_zeroes_its_map_alone(bad):
    g = generator(1)
    cam, features = torch.rand(2, 2, 4, 4, generator=g), torch.randn(2, 3, 4, 4, generator=g)
    expected = ncut(cam, features)
    assert expected.flatten(2).any(2).all()
    cam[1, 0, 2, 2] = bad
    expected[1, 0] = 0
    assert_close(ncut(cam, features), expected)
    features[1, 0, 0, 0] = bad
    expected[1] = 0
    assert_close(ncut(cam, features), expected)


@pytest.mark.parametrize("exponent", [-120, 120])
def test_features_of_any_scale_on_another_grid(exponent):
    g = generator(2)
    cam, features = torch.rand(1, 4, 4, generator=g), torch.randn(1, 3, 8, 8, generator=g)
    out = ncut(cam, features, size=(4, 4))
    assert_close(ncut(cam, features * 2.0**exponent, size=(4, 4)), out)


def test_the_grid_has_at_most_784_positions():
    layers = [torch.rand(1, 3, 56, 56), torch.rand(1, 3, 7, 7)]
    assert ncut(torch.rand(1, 7, 7), layers).shape == (1, 28, 28)


def test_there_is_no_graph():
    cam, features = torch.rand(1, 4, 4), torch.rand(1, 3, 4, 4) - 0.5
    out = ncut(cam.clone().requires_grad_(), features.clone().requires_grad_())
    assert not out.requires_grad
    assert_close(out, ncut(cam, features))


def test_errors():
    cam, features = torch.rand(2, 4, 4), torch.rand(2, 3, 4, 4)
    for options, message in (
        ({"threshold": 1}, "threshold: expected a number in (-1, 1), got 1"),
        ({"size": (0, 1)}, "size: expected (height, width), two integers >= 1, got (0, 1)"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            ncut(cam, features, **options)
