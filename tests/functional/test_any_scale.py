"""Results that do not depend on the scale and the offset of a CAM, or on the scale of a pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import wsolrefine as w
from tests.support.strategies import SEEDS, generator, scenes

# Each takes a CAM and features; scale and offset of the CAM do not matter.
OF_ANY_RANGE = {
    "minmax": lambda cam, features: w.minmax(cam),
    "scg": lambda cam, features: w.scg(cam, features, foreground=0.60137, background=0.30137),
    "scg_confseg": lambda cam, features: with_own_thresholds(cam, features),
    "sem": lambda cam, features: w.sem(cam, features, num_seeds=5),
    "pc1": w.pc1,
    "ncut": w.ncut,
    "gppl": lambda cam, features: w.gppl(cam),
    "confseg": lambda cam, features: w.confseg(cam).confident,
    "pseudo_label": lambda cam, features: w.pseudo_label(w.gppl(cam), foreground=0.50137),
}
# The scale does not matter; an offset is weight.
OF_ANY_SCALE = {
    "label_spreading": lambda cam, features: w.label_spreading(cam, features),
    "fit_gaussian": lambda cam, features: w.fit_gaussian(cam),
    "multiply_maps": lambda cam, features: w.multiply_maps([cam, cam[..., :1, :]]),
    "multiply_maps_powers": lambda cam, features: w.multiply_maps([cam, cam.mT], powers=[0.5, 3]),
    "suppress_non_maxima": lambda cam, features: w.suppress_non_maxima(cam.flatten(0, -3)) > 0,
}


def with_own_thresholds(cam, features):
    low, high = w.confseg_thresholds(w.minmax(cam))
    return w.scg(cam, features, foreground=high + 1e-9, background=low - 1e-9)


def same(actual, expected, **tolerance):
    for one, two in zip(
        *(found if isinstance(found, tuple) else (found,) for found in (actual, expected)),
        strict=True,
    ):
        assert_close(one, two, **tolerance)


@pytest.mark.parametrize("name", OF_ANY_RANGE)
@given(scene=scenes(), scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_scale_and_offset_do_not_matter(name, scene, scale, offset):
    function = OF_ANY_RANGE[name]
    cam, features = scene.cam, scene.features
    moved = scale * cam + offset
    if not torch.equal(w.minmax(moved).gt(0.5), w.minmax(cam).gt(0.5)):
        return  # a constant map up to rounding
    same(function(moved, features), function(cam, features), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1 / 7, 1 / 255, 41.0])
@pytest.mark.parametrize("offset", [0.0, 0.7])
def test_values_that_are_thresholds_are_not_moved_by_rounding(scale, offset):
    """A CAM of eleven levels has pixels at 0.3 and 0.6 of its range."""
    g = generator(2)
    features, cam = torch.randn(1, 8, 14, 14, generator=g), torch.rand(1, 14, 14, generator=g)
    cam = (cam * 10).round()
    assert_close(w.scg(scale * cam + offset, features), w.scg(cam, features), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", [*OF_ANY_RANGE, *OF_ANY_SCALE])
def test_the_scale_may_be_extreme(name, dtype):
    """Powers of two: no value of the CAM is rounded, so that the result is the same to the bit."""
    function = (OF_ANY_RANGE | OF_ANY_SCALE)[name]
    g = generator(4)
    # Sixteenths, which the smallest numbers can hold too.
    cam = torch.randint(17, (2, 2, 6, 5), generator=g).to(dtype) / 16
    features = torch.randn(2, 4, 6, 5, generator=g, dtype=dtype)
    expected = function(cam, features)
    exponents = {torch.float32: (-140, -100, 100, 127), torch.float64: (-1060, -500, 500, 1023)}
    for exponent in exponents[dtype]:
        scaled = torch.from_numpy(np.ldexp(cam.numpy(), exponent))
        same(function(scaled, features), expected, rtol=1e-6, atol=1e-6)


def test_a_cam_of_both_signs_at_the_end_of_the_range():
    cam = torch.tensor([[[-3e38, 0.0, 3e38]]])
    assert_close(w.minmax(cam), torch.tensor([[[0.0, 0.5, 1.0]]]))
    features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]])
    assert_close(w.scg(cam, features), w.scg(w.minmax(cam), features))
    assert_close(w.gppl(cam), w.gppl(w.minmax(cam)))
    assert w.confseg(cam).foreground.tolist() == [[[False, False, True]]]
    low, high = w.confseg_thresholds(cam)
    assert_close(high, torch.tensor([2e38]))
    assert_close(low, torch.tensor([-2e38]))


def test_a_raw_cam_gives_the_map_of_the_rescaled_one():
    """Class scores from 0.7 to 41: every value is above the thresholds of a CAM in [0, 1]."""
    g = generator(0)
    features = 0.1 * torch.randn(1, 8, 14, 14, generator=g)
    features[:, 0] += 1
    features[:, 1, 4:9, 4:9] += 3
    raw = torch.rand(1, 14, 14, generator=g)
    raw[:, 5:8, 5:8] += 3
    raw = 0.7 + 40.3 * w.minmax(raw)
    assert_close(w.scg(raw, features), w.scg(w.minmax(raw), features))
    assert w.largest_box(w.scg(raw, features) > 0.35).tolist() == [[4, 4, 9, 9]]
    assert_close(w.gppl(raw), w.gppl(w.minmax(raw)))
    assert w.gppl(raw).amax() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_raw_cam_in_half_precision(dtype):
    raw = (40 * torch.rand(2, 7, 7, generator=generator(1)) + 0.7).to(dtype)
    features = torch.randn(2, 6, 7, 7, generator=generator(2)).to(dtype)
    expected = w.scg(raw.float(), features.float())
    assert_close(w.scg(raw, features), expected.to(dtype))
    assert_close(w.gppl(raw), w.gppl(raw.float()).to(dtype))


def test_an_offset_that_leaves_only_rounding_gives_a_zero_map():
    cam = 1e9 + torch.rand(1, 4, 4, generator=generator(0))
    features = torch.randn(1, 3, 4, 4, generator=generator(1))
    assert not w.scg(cam, features).any()
    assert not w.gppl(cam).any()


# The scale of a pixel ------------------------------------------------------------------------------

OF_FEATURES = {
    "self_correlation": lambda cam, f: w.self_correlation(f, orders=(1, 2, 3)),
    "self_correlation_released": lambda cam, f: w.self_correlation_released(f),
    "scg": w.scg,
    "scg_released": w.scg_released,
    "sem": lambda cam, f: w.sem(cam, f, num_seeds=4),
    "ncut": w.ncut,
}


@pytest.mark.parametrize("channels", [2, 5, 40])
@pytest.mark.parametrize("name", OF_FEATURES)
def test_pixels_of_any_magnitude_in_one_image(name, channels):
    """From the smallest number to nearly the largest, next to each other."""
    function = OF_FEATURES[name]
    g = generator(channels)
    cam = torch.rand(2, 5, 6, generator=g)
    # Small integers, so that the smallest numbers hold them too.
    features = torch.randint(-8, 9, (2, channels, 5, 6), generator=g).float()
    features[:, 0] = 9
    features[:, :, 0, 0] = 0  # a dead pixel
    exponents = torch.randint(-149, 124, (2, 1, 5, 6), generator=g)
    mixed = torch.from_numpy(np.ldexp(features.numpy(), exponents.numpy()))
    assert mixed.isfinite().all()
    expected = function(cam, features)
    assert expected.any()
    assert_close(function(cam, mixed), expected, rtol=1e-5, atol=1e-5)
    assert_close(function(cam.double(), features.double()).float(), expected, rtol=0, atol=1e-4)


@given(scenes(max_layers=1), SEEDS)
def test_the_scale_of_each_pixel_does_not_matter(scene, seed):
    cam, (features,) = scene
    scale = torch.empty(len(cam), 1, *scene.grid, dtype=torch.float64)
    scale = 10 ** scale.uniform_(-140, 140, generator=generator(seed))
    for function in OF_FEATURES.values():
        assert_close(function(cam, features * scale), function(cam, features))


@pytest.mark.parametrize("exponent", range(-40, 61, 5))
def test_derivatives_of_features_of_any_scale(exponent):
    """More channels than pixels: cosines are products divided by lengths, of which cubes are taken.

    Up to second derivatives, as a penalty on gradients takes them.
    """
    g = generator(0)
    features, cam = torch.randn(2, 40, 4, 5, generator=g), torch.rand(2, 4, 5, generator=g)
    weights = torch.rand(2, 4, 5, generator=g)

    def derivatives(scale):
        leaf = (scale * features).requires_grad_()
        loss = (weights * w.scg(cam, leaf)).sum()
        (first,) = torch.autograd.grad(loss, leaf, create_graph=True)
        (second,) = torch.autograd.grad((scale * first).square().sum(), leaf)
        return scale * first, scale * second

    same(derivatives(2.0**exponent), derivatives(1.0), rtol=1e-3, atol=1e-4)


def test_a_pixel_that_vanishes_beside_the_peak():
    """Its squares are zero beside those of the peak; its vector is not."""
    features = torch.ones(1, 2, 1, 3)
    features[..., 1] = 3
    features[..., 2] = 1e30
    for orders in ((1,), (1, 2), (1, 2, 3)):
        assert_close(w.self_correlation(features, orders=orders), torch.ones(1, 3, 3))
    features[..., 1] = 2e14
    features[..., 2] = 1e37
    assert_close(w.self_correlation(features, orders=(1, 2, 3)), torch.ones(1, 3, 3))


@pytest.mark.parametrize("value", [torch.finfo(torch.float32).max, 2.0**-149])
def test_the_ends_of_the_range_are_finite_features(value):
    signs = torch.randint(2, (1, 4, 3, 3), generator=generator(0)).float() * 2 - 1
    for function in OF_FEATURES.values():
        cam = torch.rand(1, 3, 3, generator=generator(1))
        assert_close(function(cam, signs * value), function(cam, signs))


# The scale of an image, of its features and of its colors ------------------------------------------


def scaled(maps, exponent):
    """Multiply by a power of two, which may be beyond the dtype."""
    return torch.from_numpy(np.ldexp(maps.numpy(), exponent))


extreme_scales = pytest.mark.parametrize("exponent", [-140, -100, 100, 123])


@extreme_scales
def test_features_and_colors_of_any_scale(exponent):
    g = generator(3)
    cam = torch.rand(2, 6, 5, generator=g)
    # Small integers, so that the smallest numbers hold them too; colors that repeat.
    features = [
        torch.randint(-8, 9, (2, 4, *grid), generator=g).float() for grid in ((6, 5), (12, 10))
    ]
    image = torch.randint(0, 9, (2, 3, 24, 20), generator=g).float()
    expected = w.label_spreading(cam, features, image)
    for layers, colors in (
        ([scaled(layer, exponent) for layer in features], image),
        ([features[0], scaled(features[1], exponent)], image),
        (features, scaled(image, exponent)),
    ):
        assert_close(w.label_spreading(cam, layers, colors), expected, rtol=0, atol=1e-5)
    affinity = w.feature_affinity(features, size=(3, 4))
    changed = w.feature_affinity([scaled(layer, exponent) for layer in features], size=(3, 4))
    assert_close(changed, affinity, rtol=0, atol=1e-5)


@extreme_scales
def test_maps_and_colors_of_any_scale(exponent):
    g = generator(5)
    maps = torch.randint(-8, 9, (2, 2, 4, 5), generator=g).float()
    image = torch.randint(0, 9, (2, 3, 8, 10), generator=g).float()
    expected = w.pamr(maps, image)
    assert_close(w.pamr(maps, scaled(image, exponent)), expected, rtol=0, atol=1e-5)
    one = torch.cat([scaled(image[:, :1], exponent), image[:, 1:]], 1)  # each color has its own
    assert_close(w.pamr(maps, one), expected, rtol=0, atol=1e-5)
    moved = w.pamr(scaled(maps, exponent), image)
    assert_close(moved, scaled(expected, exponent), rtol=1e-4, atol=0)


def test_maps_at_the_end_of_the_range_stay_in_it():
    most = torch.finfo(torch.float32).max
    image = torch.rand(1, 3, 6, 6, generator=generator(6))
    assert (w.pamr(torch.full((1, 3, 3), most), image) == most).all()
    for iterations in (0, 1, 10):
        both = w.pamr(torch.tensor([[[-most, most]]]), image, iterations=iterations)
        assert both.isfinite().all()


# Boxes, Gaussians, products -----------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-148, -100, 60, 125])
def test_boxes_of_any_size(exponent):
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [-4.0, 0.0, 2.0, 2.0]])
    scaled = torch.from_numpy(np.ldexp(boxes.numpy(), exponent))
    assert_close(w.box_iou(scaled, scaled), w.box_iou(boxes, boxes))
    far = w.box_iou(scaled, boxes, inclusive=True)
    assert ((far >= 0) & (far <= 1)).all()


def test_a_matrix_that_is_no_covariance_gives_a_map_in_0_to_1():
    g = generator(0)
    mean = 3e38 * torch.rand(200, 2, generator=g)
    for size in (1.0, 1e-40, 1e38):
        matrix = size * torch.randn(200, 2, 2, generator=g).clamp(-3, 3)
        for center in (mean, mean / 3e38):
            values = w.gaussian_map(w.Gaussian(center, matrix), (3, 4))
            assert ((values >= 0) & (values <= 1)).all()


def test_negative_values_of_a_product_count_as_zero():
    map = torch.tensor([[[-2.0, 1.0, 2.0]]])
    assert_close(w.multiply_maps([map, map]), torch.tensor([[[0.0, 0.25, 1.0]]]))


@pytest.mark.parametrize("orders", [(2, 20), (64,), (1, 33)])
@pytest.mark.parametrize("channels", [2, 60])
def test_high_orders_stay_finite(orders, channels):
    features = torch.rand(2, channels, 5, 6, generator=generator(channels))
    rows = w.self_correlation(features, orders=orders)
    double = w.self_correlation(features.double(), orders=orders)
    assert rows.isfinite().all()
    assert double.any()
    assert ((rows >= 0) & (rows <= 1 + 1e-6)).all()
    assert w.scg(torch.rand(2, 5, 6), features, orders=orders).isfinite().all()


def test_orders_and_iterations_have_an_end():
    """Each costs a product: a billion of them would look like a program that hangs."""
    cam, features = torch.rand(1, 3, 3), torch.rand(1, 2, 3, 3)
    for call in (
        lambda: w.scg_released(cam, features, order=10**9),
        lambda: w.self_correlation_released(features, order=10**9),
        lambda: w.scg(cam, features, orders=(10**9,)),
        lambda: w.self_correlation(features, orders=(10**9,)),
        lambda: w.conv_crf(features, torch.rand(1, 3, 3, 3), iterations=10**9),
        lambda: w.pamr(cam, torch.rand(1, 3, 3, 3), iterations=10**9),
    ):
        with pytest.raises(
            ValueError, match=r"^(order|orders|iterations): expected .* to \d+, got"
        ):
            call()
    with pytest.raises(ValueError, match=r"^alpha: expected a number in \[0, 0.999\], got"):
        w.label_spreading(cam, features, alpha=1 - 2**-53)
    image = torch.rand(1, 3, 3, 3, generator=generator(0))
    assert_close(w.pamr(cam, image, dilations=(10**9,)), w.pamr(cam, image, dilations=(2,)))
