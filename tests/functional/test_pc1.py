import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import eigenmaps as reference
from tests.references.batch import each_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator, object_scene, rotate, scenes
from wsolrefine import pc1

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
CLOSE = {"rtol": 0, "atol": 1e-6}


@given(scenes())
def test_matches_reference(scene):
    expected = each_map(
        lambda cam, layers: reference.pc1(cam, layers, scene.grid), scene.cam, scene.layers
    )
    assert_close(pc1(scene.cam, scene.features), expected, **CLOSE)


@given(scenes(), SIZES)
def test_matches_reference_on_another_grid(scene, size):
    expected = each_map(
        lambda cam, layers: reference.pc1(cam, layers, size), scene.cam, scene.layers
    )
    assert_close(pc1(scene.cam, scene.features, size=size), expected, **CLOSE)


@given(scenes(), FLIPS, SEEDS, st.integers(-20, 20))
def test_invariances(scene, how, seed, exponent):
    out = pc1(scene.cam, scene.features)
    assert ((out >= 0) & (out <= 1)).all()
    scale = 2.0**exponent

    def again(change, cam=scene.cam):
        return pc1(cam, scene.map(change).features)

    assert_close(again(lambda f: scale * f + 1), out, **CLOSE)
    assert_close(again(lambda f: rotate(f, seed)), out, **CLOSE)
    assert_close(again(lambda f: torch.cat([f, f], 1)), out, **CLOSE)
    assert_close(again(lambda f: f, scale * scene.cam + 1), out, **CLOSE)
    assert_close(again(lambda f: flip(f, how), flip(scene.cam, how)), flip(out, how), **CLOSE)
    assert_close(again(lambda f: f[:1], scene.cam[:1]), out[:1], **CLOSE)
    assert_close(again(lambda f: -f), out, **CLOSE)
    opposite = again(lambda f: f, -scene.cam)  # the other side of the mean
    assert_close(out * opposite, torch.zeros_like(out), **CLOSE)


@given(scenes(with_maps=False), SEEDS)
def test_maps_of_one_image_do_not_influence_each_other(scene, seed):
    other = torch.rand(scene.cam.shape, generator=generator(seed), dtype=scene.cam.dtype)
    out = pc1(torch.stack([scene.cam, other], 1), scene.features)
    assert_close(out[:, 0], pc1(scene.cam, scene.features), **CLOSE)
    assert_close(out[:, 1], pc1(other, scene.features), **CLOSE)


def test_the_object_is_where_the_cam_is():
    cam, features, inside = object_scene()
    object, rest = pc1(cam, features)[0], pc1(-cam, features)[0]
    assert object[inside].min() > object[~inside].max()
    assert rest[~inside].min() > rest[inside].max()


CHANNELS = torch.tensor([[[[1.0, -1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, -1.0]]]])  # of equal variance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("cam", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 1.0]),
        ([2.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.5, 0.0]),
        ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_of_equal_components_the_one_that_correlates_most(cam, expected, dtype):
    """No component of equal variance is the first; the CAM decides, also that there is none."""
    out = pc1(torch.tensor([[cam]], dtype=dtype), CHANNELS.to(dtype))
    assert_close(out, torch.tensor([[expected]], dtype=dtype))
    # As many channels as make the other matrix the smaller one.
    more = torch.cat([CHANNELS, CHANNELS, CHANNELS], 1).to(dtype)
    assert_close(pc1(torch.tensor([[cam]], dtype=dtype), more), out)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("side", [3, 14, 28])
def test_without_correlation_the_map_is_zero(side, seed):
    """A CAM of rows and features of columns: rounding must not choose a sign."""
    g = generator(seed)
    rows, columns = torch.randn(1, side, 1, generator=g), torch.randn(1, 3, 1, side, generator=g)
    cam, features = rows.expand(1, side, side), columns.expand(1, 3, side, side)
    assert not pc1(cam, features).any()


@pytest.mark.parametrize("channels", [2, 40])
def test_what_is_constant_gives_a_zero_map(channels):
    cam, features = torch.rand(1, 4, 4), torch.rand(1, channels, 4, 4)
    assert pc1(cam, features).any()
    assert not pc1(torch.ones(1, 4, 4), features).any()
    for constant in (0.0, 0.1, 1e30):
        assert not pc1(cam, torch.full_like(features, constant)).any()
    assert not pc1(torch.ones(1, 1, 1), torch.rand(1, channels, 1, 1)).any()
    across = torch.rand(1, 1, 8)  # constant on a grid of one column
    assert not pc1(across, torch.rand(1, channels, 4, 1)).any()
    one = features.clone()
    one[:, 1:] = 0.3  # one channel that is not
    assert_close(pc1(one[:, 0], one), pc1(one[:, 0], one[:, :1]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_zeroes_its_map_alone(bad):
    cam, features = torch.rand(2, 2, 4, 4), torch.rand(2, 3, 4, 4)
    expected = pc1(cam, features)
    cam[1, 0, 2, 2] = bad
    expected[1, 0] = 0
    assert_close(pc1(cam, features), expected)
    features[1, 0, 0, 0] = bad
    expected[1] = 0
    assert_close(pc1(cam, features), expected)


def test_the_grid_has_at_most_784_positions():
    layers = [torch.rand(1, 3, 56, 56), torch.rand(1, 3, 7, 7)]
    assert pc1(torch.rand(1, 7, 7), layers).shape == (1, 28, 28)
    assert pc1(torch.rand(1, 7, 7), layers, size=(3, 2)).shape == (1, 3, 2)


def test_there_is_no_graph():
    cam, features = torch.rand(1, 4, 4), torch.rand(1, 3, 4, 4)
    out = pc1(cam.clone().requires_grad_(), features.clone().requires_grad_())
    assert not out.requires_grad
    assert_close(out, pc1(cam, features))


def test_errors():
    cam, features = torch.rand(2, 4, 4), torch.rand(2, 3, 4, 4)
    message = "size: expected (height, width), two integers >= 1, got (0, 1)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pc1(cam, features, size=(0, 1))
