"""The compositions as plain functions; what a localizer makes of them is in test_localizer.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.support.small_localizers import build, images
from tests.support.strategies import generator
from wsolrefine import Localizer, minmax, pamr
from wsolrefine.localization import accurate, balanced, fast, start_map
from wsolrefine.localization.compositions import _around, _shrink, larger, resized

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def inputs(dtype=torch.float64, classes=2, seed=0):
    rng = generator(seed)
    cam = torch.rand(2, classes, 4, 4, generator=rng, dtype=torch.float64)
    layers = [
        torch.randn(2, c, n, n, generator=rng, dtype=torch.float64) for c, n in ((6, 16), (8, 8))
    ]
    return cam.to(dtype), [layer.to(dtype) for layer in layers], images(2).to(dtype)


def test_the_start_map_is_the_cam_with_the_mean_of_finer_maps():
    cam = torch.tensor([[[[1.0, 0.0, 0.5, 0.0]]]])
    first, second = (
        torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]]),
        torch.tensor([[[[0.0, 0.5, 1.0, 0.0]]]]),
    )
    total = torch.tensor([[[[1.0, 0.75, 1.5, 0.0]]]])
    assert_close(start_map(cam, [first, second], (1, 4)), total / 1.5)
    assert_close(start_map(cam, [], (1, 4)), cam)
    assert start_map(cam, [torch.rand(1, 1, 8, 8)], (6, 5)).shape == (1, 1, 6, 5)


@pytest.mark.parametrize("refine", [fast, balanced])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_range_shape_and_dtype(refine, dtype):
    cam, features, batch = inputs(dtype)
    maps = refine(cam, features, batch)
    assert maps.dtype == dtype
    assert maps.shape[:2] == (2, 2)
    assert 0 <= maps.min() <= maps.max() == 1


@pytest.mark.parametrize("refine", [fast, balanced])
def test_a_class_without_evidence_stays_zero(refine):
    cam, features, batch = inputs()
    cam[0, 1] = 0
    maps = refine(cam, features, batch)
    assert not maps[0, 1].any()
    assert maps[0, 0].any()
    assert maps[1].flatten(1).any(1).all()


@given(st.lists(st.floats(0, 60), min_size=4, max_size=4), st.floats(0, 1), SIZES)
def test_boxes_of_crops(corners, margin, size):
    height, width = size
    x0, x1 = sorted(min(value, width) for value in corners[:2])
    y0, y1 = sorted(min(value, height) for value in corners[2:])
    ((left, top, right, bottom),) = _around(torch.tensor([[x0, y0, x1, y1]]), margin, size)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if (x0 < x1) != (y0 < y1):
        return  # no box of a mask
    if x0 < x1:
        assert left <= x0 and x1 <= right and top <= y0 and y1 <= bottom  # noqa: PT018
        assert right - left >= min(width, 2) / 7
    else:
        assert (left, top, right, bottom) == (0, 0, width, height)


def test_a_margin_is_a_share_of_the_box():
    box = torch.tensor([[40.0, 20.0, 60.0, 40.0]])
    assert _around(box, 0.5, (100, 100)) == [(30, 10, 70, 50)]
    assert _around(box, 0.0, (100, 100)) == [(35, 15, 65, 45)]  # at least 2/7 of the image


def test_images_are_resized_within_their_range():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(resized(image, (4, 4)), image)
    assert torch.equal(resized(image[..., 1:2, 1:2], (3, 5)), torch.full((1, 1, 3, 5), 5.0))
    large = resized(image, (7, 9))
    assert 0 <= large.min() <= large.max() <= 15
    assert larger((64, 50)) == (96, 75)


def test_images_are_shrunk_and_never_enlarged():
    batch = images(2, (64, 32))
    assert _shrink(batch, 112) is batch
    assert _shrink(batch, 16).shape == (2, 3, 16, 8)
    assert_close(_shrink(torch.full((1, 3, 50, 30), 0.5), 20), torch.full((1, 3, 20, 12), 0.5))
    assert _shrink(images(1, (200, 1)), 100).shape == (1, 3, 100, 1)


def square():
    maps = torch.zeros(2, 64, 64)
    maps[:, 20:40, 24:44] = 1
    return maps


def drawn(maps, batch):
    return minmax(pamr(maps, batch, iterations=5, dilations=(1, 2, 4, 8, 12)))


def test_accurate_sees_the_images_larger():
    batch, shapes = images(2, (64, 50)), []

    def see(images):
        shapes.append(tuple(images.shape))
        return torch.zeros(2, 5, 5)

    maps = square()[..., :50]
    assert_close(accurate(maps, batch, see, crop=False), drawn(maps, batch))
    assert shapes == [(2, 3, 96, 75)]


def test_accurate_sees_the_part_around_the_object():
    batch, crops = images(2), []

    def see(images):
        crops.append(images)
        return torch.ones(2, 5, 5)

    found = accurate(square(), batch, see, crop=True)
    assert found.shape == (2, 64, 64)
    ((crop,),) = [crops]
    assert_close(crop, resized(batch[..., 17:43, 21:47], (64, 64)))
    expected = torch.zeros(2, 64, 64)
    expected[:, 17:43, 21:47] = 0.5
    expected[square() > 0] = 1
    assert_close(found, drawn(expected, batch))


def test_accurate_draws_maps_to_the_edges_of_small_images():
    batch = images(2, (320, 200))
    found = accurate(square(), batch, lambda images: torch.zeros(2, 5, 5), crop=False)
    assert found.shape == (2, 224, 140)
    none = accurate(square()[:0], batch[:0], lambda images: torch.zeros(0, 5, 5), crop=False)
    assert none.shape == (0, 224, 140)


@pytest.mark.parametrize("crop", [False, True])
def test_accurate_keeps_a_map_that_is_zero(crop):
    maps = torch.zeros(2, 8, 8)
    maps[1, 2, 2] = 1
    found = accurate(maps, images(2), lambda images: torch.ones(2, 3, 3), crop=crop)
    assert not found[0].any()
    assert found[1].max() == 1


class Sizes(torch.nn.Module):
    """Notes the sizes of its images, and refuses other ones than its own."""

    def __init__(self, only=None):
        super().__init__()
        self.model, self.only, self.sizes = build(), only, set()

    def forward(self, x):
        assert self.only in (None, tuple(x.shape[2:]))
        self.sizes.add(tuple(x.shape[2:]))
        return self.model(x)


def test_the_model_sees_larger_images_if_it_takes_them():
    model = Sizes()
    Localizer(model, refine="accurate")(images(2), top=2)
    assert model.sizes == {(64, 64), (96, 96)}


def test_a_model_of_one_size_sees_crops():
    model = Sizes(only=(64, 64))
    localizer, balanced = Localizer(model, refine="accurate"), Localizer(model)
    found, plain = localizer(images(2), top=2), balanced(images(2), top=2)
    assert model.sizes == {(64, 64)}
    assert not torch.equal(found.maps, plain.maps)
    assert localizer(images(2)).maps.shape == (2, 1, 64, 64)


class Converts(torch.nn.Module):
    """Of one input size, and in a precision of its own, which an error would be put down to."""

    def __init__(self):
        super().__init__()
        self.model, self.sizes = build().double(), set()

    def forward(self, x):
        if x.shape[2:] != (64, 64):
            raise RuntimeError("a tensor of another size")
        return self.model(x.double()).float()


def test_a_model_of_one_size_that_converts_its_images_sees_crops():
    found = Localizer(Converts(), refine="accurate")(images(2))
    assert_close(found.maps, Localizer(Sizes((64, 64)), refine="accurate")(images(2)).maps)


class Full(torch.nn.Module):
    """Has no memory for images larger than its own, until there is some."""

    def __init__(self):
        super().__init__()
        self.model, self.full = build(), True

    def forward(self, x):
        if self.full and x.shape[2:] != (64, 64):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return self.model(x)


def test_too_little_memory_is_no_size_that_the_model_does_not_take():
    model = Full()
    localizer = Localizer(model, refine="accurate")
    with pytest.raises(ValueError, match="CUDA out of memory"):
        localizer(images(2))
    model.full = False
    assert torch.equal(
        localizer(images(2)).maps, Localizer(model, refine="accurate")(images(2)).maps
    )
    assert list(localizer._taken.values()) == [True]


@pytest.mark.parametrize("only", [None, (64, 64)])
def test_layers_that_are_given_are_used_at_both_sizes(only):
    layers = Localizer(build())._layers(images(1))
    wrapped = layers._replace(
        features=tuple(f"model.{name}" for name in layers.features),
        cam=f"model.{layers.cam}",
        head=f"model.{layers.head}",
    )
    given = Localizer(Sizes(only), refine="accurate", layers=wrapped)(images(2))
    found = Localizer(Sizes(only), refine="accurate")(images(2))
    assert_close(given.maps, found.maps)


@pytest.mark.parametrize("crop", [False, True])
def test_accurate_of_no_images(crop):
    maps = torch.zeros(0, 8, 8, dtype=torch.bfloat16)
    found = accurate(maps, images(2)[:0], lambda images: torch.zeros(0, 3, 3), crop=crop)
    assert (found.shape, found.dtype) == ((0, 64, 64), torch.bfloat16)


def test_no_images():
    found = Localizer(build(), refine="accurate", layers=Localizer(build())._layers(images(1)))
    assert found(images(2)[:0], torch.zeros(0, dtype=torch.int64)).boxes.shape == (0, 1, 4)
