import re
import sys
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import label_spreading as reference
from tests.references.batch import each_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator, scenes
from wsolrefine import feature_affinity, label_spreading

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
ALPHAS = st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.999])
CLOSE = {"rtol": 0, "atol": 2e-3}  # the iteration stops at a relative error of 1e-4


@st.composite
def photographs(draw):
    """A scene and its image, in which whole areas may have one color."""
    scene = draw(scenes())
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    image = torch.rand(len(scene.cam), 3, *size, generator=generator(draw(SEEDS))).double()
    return scene, image.round() if draw(st.booleans()) else image


@given(scenes(), SIZES, st.sampled_from([1, 2.5, 3]))
def test_affinity_matches_reference(scene, size, power):
    out = feature_affinity(scene.layers, size=size, power=power)
    for index, one in enumerate(out):
        layers = [layer[index].numpy() for layer in scene.layers]
        expected = torch.from_numpy(reference.feature_affinity(layers, size, power))
        assert_close(one, expected, rtol=0, atol=1e-6)


@given(scenes(), SIZES)
def test_affinity_in_a_graph(scene, size):
    """There, cells are averaged by products."""
    with mock.patch.object(sys.modules[feature_affinity.__module__], "in_graph", return_value=True):
        out = feature_affinity(scene.layers, size=size)
    assert_close(out, feature_affinity(scene.layers, size=size))


@given(scenes(), SIZES, st.integers(-20, 20), SEEDS)
def test_affinity_invariances(scene, size, exponent, seed):
    out = feature_affinity(scene.layers, size=size)
    assert ((out >= 0) & (out <= 1)).all()
    assert_close(out, out.mT)
    scaled = scene.map(lambda layer: layer * 2.0**exponent + 1)
    assert_close(feature_affinity(scaled.layers, size=size), out, rtol=0, atol=1e-6)
    assert_close(feature_affinity([layer[:1] for layer in scene.layers], size=size), out[:1])


def test_a_position_at_the_mean_is_like_no_other():
    """Bilinear values between two others: up to rounding, the middle one is their mean."""
    features = torch.tensor([[[[-0.2905, -1.0704]], [[1.2645, -0.6874]]]])
    for offset in (0, 1, 100):
        out = feature_affinity(features + offset, size=(1, 3))
        assert_close(out, torch.diag(torch.tensor([1.0, 0.0, 1.0]))[None])


@given(photographs(), ALPHAS)
def test_matches_reference(photograph, alpha):
    scene, image = photograph

    def one(cam, layers):
        *layers, colors = layers
        return reference.label_spreading(cam, layers, colors, alpha, scene.grid)

    out = label_spreading(scene.cam, scene.features, image, alpha=alpha)
    assert_close(out, each_map(one, scene.cam, [*scene.layers, image]), **CLOSE)


@given(photographs(), FLIPS, st.integers(-20, 20))
def test_invariances(photograph, how, exponent):
    scene, image = photograph
    out = label_spreading(scene.cam, scene.features, image)
    assert ((out >= 0) & (out <= 1)).all()
    flipped = [flip(layer, how) for layer in scene.layers]
    assert_close(
        label_spreading(flip(scene.cam, how), flipped, flip(image, how)), flip(out, how), **CLOSE
    )
    scaled = scene.map(lambda layer: layer * 2.0**exponent)
    assert_close(
        label_spreading(scene.cam * 2.0**exponent, scaled.features, image * 2.0**exponent),
        out,
        **CLOSE,
    )
    first = [layer[:1] for layer in scene.layers]
    assert_close(label_spreading(scene.cam[:1], first, image[:1]), out[:1])


@given(scenes(with_maps=False), SEEDS)
def test_maps_of_one_image_do_not_influence_each_other(scene, seed):
    other = torch.rand(scene.cam.shape, generator=generator(seed), dtype=scene.cam.dtype)
    out = label_spreading(torch.stack([scene.cam, other], 1), scene.features)
    assert_close(out[:, 0], label_spreading(scene.cam, scene.features))
    assert_close(out[:, 1], label_spreading(other, scene.features))


def test_the_object_is_what_is_alike():
    """A CAM of a corner of the object spreads over it and not over the rest."""
    features = 0.1 * torch.randn(1, 8, 12, 12, generator=generator(0))
    features[:, 0, 3:9, 3:9] += 1
    cam = torch.zeros(1, 12, 12)
    cam[:, 4:6, 4:6] = 1
    out = label_spreading(cam, features)[0]
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[3:9, 3:9] = True
    assert out[inside].min() > out[~inside].max()


@pytest.mark.parametrize(
    ("grid", "size"), [((28, 28), (28, 28)), ((56, 56), (28, 28)), ((48, 64), (24, 32)), ((1, 1), (1, 1))]
)  # fmt: skip
def test_the_grid_has_at_most_784_positions(grid, size):
    coarse = [-(-side // 8) for side in grid]
    layers = [torch.rand(1, 3, *grid), torch.rand(1, 3, *coarse)]
    cam = torch.rand(1, *coarse)
    assert label_spreading(cam, layers).shape == (1, *size)
    assert label_spreading(cam, layers, size=(3, 2)).shape == (1, 3, 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_zeroes_its_map_alone(bad):
    cam, features, image = torch.rand(2, 2, 4, 4), torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8)
    expected = label_spreading(cam, features, image)
    cam[1, 0, 2, 2] = bad
    expected[1, 0] = 0
    assert_close(label_spreading(cam, features, image), expected)
    features[1, 0, 0, 0] = bad
    expected[1] = 0
    assert_close(label_spreading(cam, features, image), expected)
    features[1], image[1, 0, 0, 0] = 0.5, bad
    assert_close(label_spreading(cam, features, image), expected)


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
def test_a_constant_cam_gives_a_zero_map(value):
    features, image = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 8, 8)
    assert not label_spreading(torch.full((1, 7, 7), value), features, image).any()


def test_negative_values_of_a_cam_count_as_zero():
    cam, features = torch.randn(2, 4, 4, generator=generator(0)), torch.rand(2, 3, 4, 4)
    assert_close(label_spreading(cam, features), label_spreading(cam.relu(), features))


def test_one_position_has_no_map():
    cam, features = torch.rand(2, 3, 5, 5), torch.rand(2, 4, 5, 5)
    assert not label_spreading(cam, features, size=(1, 1)).any()
    assert not feature_affinity(features, size=(1, 1)).any()  # it is at the mean


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_features_spread_nothing(value):
    """No position is like another, so that only the seeds remain."""
    features, g = torch.full((1, 3, 4, 4), value), generator(0)
    cam, image = torch.rand(1, 4, 4, generator=g), torch.rand(1, 3, 8, 8, generator=g)
    assert not feature_affinity(features, size=(4, 4)).any()
    assert_close(label_spreading(cam, features, image), label_spreading(cam, features, alpha=0))


def test_colors_keep_apart_what_features_do_not():
    features = torch.tensor([0.0, 1.0]).repeat(1, 1, 8, 4) + torch.eye(8)  # stripes of two kinds
    cam = torch.zeros(1, 8, 8)
    cam[:, 3:5, :3] = 1
    image = torch.zeros(1, 3, 8, 8)
    image[..., :4] = 1  # the object is the left half
    plain, colored = (label_spreading(cam, features, given)[0] for given in (None, image))
    contrast = [one[:, :4].mean() - one[:, 4:].mean() for one in (plain, colored)]
    assert contrast[1] > 3 * contrast[0]
    same = label_spreading(cam, features, torch.full_like(image, 0.7))  # one color says nothing
    assert_close(same[0], plain)


def test_a_large_batch_is_computed_in_blocks_with_the_same_result():
    g = generator(3)
    cam, features = torch.rand(5, 2, 7, 7, generator=g), torch.rand(5, 3, 28, 28, generator=g)
    image = torch.rand(5, 3, 56, 56, generator=g)
    out = label_spreading(cam, features, image)
    alone = [
        label_spreading(c[None], f[None], i[None])
        for c, f, i in zip(cam, features, image, strict=True)
    ]
    assert_close(out, torch.cat(alone))


def test_without_spreading_the_map_is_the_share_of_the_seeds():
    cam = torch.tensor([[[0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]]])
    out = label_spreading(cam, torch.rand(1, 2, 3, 3), alpha=0)
    assert (out[0, :, 0] == 0).all()
    assert (out[0, :, 2] == 1).all()


def test_gradients():
    g = generator(1)
    cam, features, image = (
        torch.rand(*shape, generator=g, dtype=torch.float64, requires_grad=True)
        for shape in ((1, 2, 3), (1, 2, 2, 3), (1, 3, 2, 3))
    )
    torch.autograd.gradcheck(label_spreading, (cam, features, image))
    torch.autograd.gradcheck(lambda f: feature_affinity(f, size=(2, 3)), (features,))


def test_errors():
    cam, features = torch.rand(2, 4, 4), torch.rand(2, 3, 4, 4)
    for options, error, message in (
        ({"alpha": 1}, ValueError, "alpha: expected a number in [0, 0.999], got 1"),
        (
            {"size": (0, 1)},
            ValueError,
            "size: expected (height, width), two integers >= 1, got (0, 1)",
        ),
    ):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            label_spreading(cam, features, **options)
    with pytest.raises(ValueError, match=r"^image: expected shape .* with B=2 from cam, got"):
        label_spreading(cam, features, torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match=re.escape("power: expected a finite number > 0, got 0")):
        feature_affinity(features, size=(2, 2), power=0)


@given(scenes(with_maps=False), SEEDS)
def test_affinity_of_one_layer_as_if_it_were_in_a_list(scene, seed):
    layer = scene.layers[0]
    one = feature_affinity(layer, size=(2, 3))
    assert_close(feature_affinity([layer], size=(2, 3)), one)
    assert_close(feature_affinity(layer, size=(2, 3), power=3.0), one)
