"""The compositions as plain functions; what a localizer makes of them is in test_localizer.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.support.small_localizers import build, images
from tests.support.strategies import generator
from wsolrefine import Localizer, minmax
from wsolrefine.localization import accurate, balanced, fast, start_map
from wsolrefine.localization.compositions import _around, _enlarged, _shrink

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def inputs(dtype=torch.float64, classes=2, seed=0):
    rng = generator(seed)
    cam = torch.rand(2, classes, 4, 4, generator=rng, dtype=torch.float64)
    layers = [
        torch.randn(2, c, n, n, generator=rng, dtype=torch.float64) for c, n in ((6, 16), (8, 8))
    ]
    return cam.to(dtype), [layer.to(dtype) for layer in layers], images(2).to(dtype)


def test_the_start_map_is_the_cam_with_the_mean_of_the_layer_cams():
    cam = torch.tensor([[[[1.0, 0.0, 0.5, 0.0]]]])
    first, second = (
        torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]]),
        torch.tensor([[[[0.0, 0.5, 1.0, 0.0]]]]),
    )
    total = torch.tensor([[[[1.0, 0.75, 1.5, 0.0]]]])
    assert_close(start_map(cam, [first, second]), total / 1.5)
    assert_close(start_map(cam, []), cam)
    assert start_map(cam, [torch.rand(1, 1, 8, 8)]).shape == (1, 1, 8, 8)


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


def test_a_crop_fills_the_image():
    image = torch.arange(16.0).reshape(1, 4, 4)
    assert torch.equal(_enlarged(image, (0, 0, 4, 4), (4, 4)), image)
    assert torch.equal(_enlarged(image, (1, 1, 2, 2), (3, 5)), torch.full((1, 3, 5), 5.0))


def test_images_are_shrunk_and_never_enlarged():
    batch = images(2, (64, 32))
    assert _shrink(batch, 112) is batch
    assert _shrink(batch, 16).shape == (2, 3, 16, 8)
    assert_close(_shrink(torch.full((1, 3, 50, 30), 0.5), 20), torch.full((1, 3, 20, 12), 0.5))
    assert _shrink(images(1, (200, 1)), 100).shape == (1, 3, 100, 1)


def test_accurate_sees_crops_at_the_size_of_the_images():
    batch, crops = images(2), []
    maps = torch.zeros(2, 64, 64)
    maps[:, 20:40, 24:44] = 1

    def see(images):
        crops.append(images)
        return torch.ones(2, 5, 5)

    found = accurate(maps, batch, see)
    assert [crop.shape for crop in crops] == [batch.shape] * len(crops)
    assert len(crops) == 2
    assert found.shape == (2, 64, 64)
    assert (found[:, 20:40, 24:44] == 1).all()
    outside = found.clone()
    outside[:, 10:50, 14:54] = 0
    assert not outside.any()  # both crops lie within half the box around it


def test_accurate_keeps_a_map_that_is_zero():
    maps = torch.zeros(2, 8, 8)
    maps[1, 2, 2] = 1
    found = accurate(maps, images(2), lambda crops: torch.ones(2, 3, 3))
    assert not found[0].any()
    assert found[1].max() == 1


def test_accurate_averages_what_it_sees():
    batch = images(1)
    maps = minmax(batch[:, 0])
    found = accurate(maps, batch, lambda crops: minmax(crops[:, 0]))
    # Seen from near or far, the map is the same up to its range and the resampling.
    inside = maps > 0.6
    assert (found[inside] - maps[inside]).abs().mean() < 0.15


def test_a_model_of_one_input_size_is_enough():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.sizes = build(), set()

        def forward(self, x):
            self.sizes.add(tuple(x.shape[1:]))
            return self.model(x)

    model = Fixed()
    Localizer(model, refine="accurate")(images(2), top=2)
    assert model.sizes == {(3, 64, 64)}


def test_no_images():
    found = Localizer(build(), refine="accurate", layers=Localizer(build())._layers(images(1)))
    assert found(images(2)[:0], torch.zeros(0, dtype=torch.int64)).boxes.shape == (0, 1, 4)
