"""From maps to masks and boxes, and the same box wherever an image comes in."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from tests.references.components import box
from tests.support import photographs
from tests.support.command import run_command
from tests.support.small_localizers import build, enlarged, kept, objects, photograph
from tests.support.strategies import SEEDS, generator
from wsolrefine import Classifier, Localizer, Preprocess, union_box
from wsolrefine._options import check_size
from wsolrefine.localization import masks as module
from wsolrefine.localization.masks import (
    MASK_SIDE,
    enlarge,
    label_objects,
    mask_size,
    objects_of,
)

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def masks_and_boxes(maps, size, threshold, parts):
    masks = objects_of(maps, size, threshold, parts) > 0
    return masks, union_box(masks)


@st.composite
def coarse_maps(draw):
    """Maps (B, K, h, w) in [0, 1] on any grid, also constant and with equal values."""
    shape = draw(st.tuples(*(st.integers(1, n) for n in (3, 3, 7, 7))))
    maps = torch.rand(shape, generator=generator(draw(SEEDS)), dtype=torch.float64)
    levels = draw(st.sampled_from([None, 1, 2, 4]))  # values of a few levels make ties
    return maps if levels is None else (maps * levels).round() / levels


def check(masks, boxes, maps, size, threshold, parts):
    large = enlarged(maps, size)
    for i, k in np.ndindex(*maps.shape[:2]):
        mask = kept(large[i, k], threshold, parts)
        assert torch.equal(masks[i, k], mask)
        assert boxes[i, k].tolist() == box(mask.numpy())


@given(
    maps=coarse_maps(),
    size=SIZES,
    threshold=st.sampled_from([0.0, 0.13, 0.5, 0.77, 0.99]),
    parts=st.sampled_from(["largest", "all", "instances"]),
)
def test_masks_and_boxes_are_as_defined(maps, size, threshold, parts):
    masks, boxes = masks_and_boxes(maps, size, threshold, parts)
    assert masks.shape == (*maps.shape[:2], *size)
    assert (masks.dtype, boxes.dtype) == (torch.bool, torch.float32)
    check(masks, boxes, maps, size, threshold, parts)


@given(maps=coarse_maps(), size=SIZES, threshold=st.sampled_from([0.13, 0.5]))
def test_masks_of_a_batch_are_independent(maps, size, threshold):
    masks, boxes = masks_and_boxes(maps, size, threshold, "largest")
    for i, k in np.ndindex(*maps.shape[:2]):
        alone = maps[i : i + 1, k : k + 1]
        mask, around = masks_and_boxes(alone, size, threshold, "largest")
        assert torch.equal(mask[0, 0], masks[i, k])
        assert torch.equal(around[0, 0], boxes[i, k])


def route(maps, size, threshold, parts="largest"):
    """Masks of a large image: binarized at the mask size, pixels enlarged by their centers."""
    scale = MASK_SIDE / max(size)
    small = [max(1, round(side * scale)) for side in size]
    masks = torch.zeros(*maps.shape[:2], *size, dtype=torch.bool)
    for i, k in np.ndindex(*maps.shape[:2]):
        mask = kept(enlarged(maps, tuple(small))[i, k], threshold, parts)
        rows, columns = (
            torch.tensor([int((n + 0.5) * s / side) for n in range(side)])
            for side, s in zip(size, small, strict=True)
        )
        masks[i, k] = mask[rows][:, columns]
    return masks


@pytest.mark.parametrize("parts", ["largest", "all"])
@pytest.mark.parametrize("size", [(1025, 40), (30, 2048), (1, 5000), (1500, 1100)])
def test_images_larger_than_1024_pixels(size, parts):
    maps = torch.rand(1, 2, 5, 6, generator=generator(2))
    masks, boxes = masks_and_boxes(maps, size, 0.5, parts)
    assert torch.equal(masks, route(maps, size, 0.5, parts))
    for k in range(2):
        rows, columns = masks[0, k].any(1).nonzero(), masks[0, k].any(0).nonzero()
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert boxes[0, k].tolist() == [int(corner) for corner in corners]
    if min(size) > 900:  # what is lost is about a pixel along the outline
        exact = label_objects(enlarge(maps, size), 0.5, parts)
        assert (exact.bool() != masks).float().mean() < 0.01


def test_images_of_1024_pixels_are_not_reduced():
    maps = torch.rand(1, 1, 5, 6, generator=generator(2))
    masks, _ = masks_and_boxes(maps, (MASK_SIDE, 300), 0.5, "all")
    assert torch.equal(masks, enlarged(maps, (MASK_SIDE, 300)) > 0.5)


@given(size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)))
def test_the_size_of_masks(size):
    small = mask_size(size)
    if max(size) <= MASK_SIDE:
        assert small == size
        return
    assert max(small) == MASK_SIDE
    for side, reduced in zip(size, small, strict=True):
        assert reduced == max(1, round(side * MASK_SIDE / max(size)))


def test_ties_go_to_the_first_component():
    maps = torch.tensor([[[[0.1, 0.9, 0.1, 0.9], [0.9, 0.1, 0.1, 0.9]]]])
    assert label_objects(maps, 0.5).tolist() == [[[[0, 1, 0, 0], [1, 0, 0, 0]]]]
    assert label_objects(maps, 0.5, "all").tolist() == [[[[0, 1, 0, 1], [1, 0, 0, 1]]]]
    assert label_objects(maps, 0.5, "instances").tolist() == [[[[0, 1, 0, 2], [1, 0, 0, 2]]]]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, float("nan")])
def test_constant_maps(value):
    masks, boxes = masks_and_boxes(torch.full((1, 2, 3, 4), value), (6, 9), 0.5, "largest")
    assert masks.all() if value == 1 else not masks.any()
    assert boxes.tolist() == [[[0, 0, 9, 6] if value == 1 else [0, 0, 0, 0]] * 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_maps_are_enlarged_in_single_precision_or_better(dtype, device):
    maps = torch.rand(2, 2, 5, 6, generator=generator(1)).to(device, dtype)
    large = enlarge(maps, (33, 20))
    assert (large.dtype, large.device.type) == (dtype, device.type)
    wide = maps.double() if dtype == torch.float64 else maps.float()
    assert_close(large, enlarged(wide, (33, 20)).to(dtype))
    masks, boxes = masks_and_boxes(maps, (33, 20), 0.5, "largest")
    assert torch.equal(masks, label_objects(large, 0.5).bool())
    assert masks.device.type == boxes.device.type == device.type
    assert enlarge(maps, (5, 6)) is maps


def test_no_images():
    masks, boxes = masks_and_boxes(torch.rand(0, 2, 5, 6), (7, 8), 0.5, "largest")
    assert (masks.shape, boxes.shape) == ((0, 2, 7, 8), (0, 2, 4))


@given(maps=coarse_maps(), size=SIZES, threshold=st.sampled_from([0.13, 0.5]))
def test_objects_are_as_defined(maps, size, threshold):
    found = objects_of(maps, size, threshold, "instances")
    assert found.dtype == torch.uint8
    large = enlarged(maps, size)
    for i, k in np.ndindex(*maps.shape[:2]):
        assert torch.equal(found[i, k].long(), objects(large[i, k], threshold))


def test_there_are_at_most_100_objects():
    """Also where each of many pixels is a peak: the numbers fit into 8 bits."""
    dots = torch.zeros(1, 1, 40, 40)
    dots[..., ::2, ::2] = 1
    assert label_objects(dots, 0.5, "instances").sum() == 1  # all are below 1 %: one stays
    squares = torch.ones(1, 1, 30, 30)
    squares[..., ::3, :] = squares[..., ::3] = 0
    assert label_objects(squares, 0.5, "instances").max() == 1  # 4 pixels of 900
    assert label_objects(squares[..., 1:21, 1:21], 0.5, "instances").max() == 49  # of 400


@pytest.mark.parametrize("size", [(3, 4), [3, 4], torch.Size((3, 4)), np.array([3, 4])])
def test_sizes_in_every_form(size):
    checked = check_size("size", size)
    assert checked == (3, 4)
    assert all(type(side) is int for side in checked)


# One box, wherever the image comes in -------------------------------------------------------------


@pytest.mark.parametrize("size", [(1300, 700), (700, 2000)])
def test_a_large_photograph_has_the_box_of_a_reduced_one_enlarged(size):
    classifier = Classifier(build(), Preprocess((64, 64)), None, "small")
    localizer = Localizer(classifier)
    image = photograph(*size)
    found = localizer(image, 3)
    assert torch.equal(found.masks, route(found.coarse, (size[1], size[0]), found.threshold))
    reduced = localizer(image, 3, size=(size[1] // 4, size[0] // 4))
    assert_close(found.boxes / 4, reduced.boxes, rtol=0, atol=1)
    assert found.boxes.any()
    exactly = Localizer(classifier, parts="all")(image, 3)
    assert_close(
        exactly.masks.float().mean(), (exactly.maps > found.threshold).float().mean(),
        rtol=0.01, atol=0,
    )  # fmt: skip


def test_refine_writes_the_box_that_the_localizer_finds(tmp_path, monkeypatch):
    from wsolrefine.cli.refine.coco import RESULTS

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with Image.open(photographs.FOLDER / "chelsea.png") as cat:
        cat.save(folder / "cat.png")
        cat.resize((1500, 997)).save(folder / "large.png")
        exif = Image.Exif()
        exif[0x0112] = 8
        cat.resize((300, 200)).save(folder / "turned.jpg", exif=exif)
    with photographs.shared(monkeypatch):
        run_command("refine", folder, "--out", out, "--batch-size", 1, "--classes", "top2")
        localizer = Localizer(photographs.classifier())
        found = {path.name: localizer.open(path, top=2) for path in folder.iterdir()}
    data = json.loads((out / RESULTS).read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    assert sorted(names.values()) == sorted(found)
    written = {
        (names[one["image_id"]], one["category_id"]): one for one in data["annotations"]
    }  # fmt: skip
    expected = 0
    for name, one in found.items():
        for k, label in enumerate(one.labels[0].tolist()):
            x0, y0, x1, y1 = one.boxes[0, k].tolist()
            if x1 == x0:
                assert (name, label) not in written
                continue
            expected += 1
            entry = written[name, label]
            assert entry["bbox"] == [x0, y0, x1 - x0, y1 - y0]
            assert entry["score"] == pytest.approx(one.scores[0, k].item(), abs=1e-5)
            with Image.open(out / entry["mask"]) as mask:
                differ = (np.asarray(mask) > 0) != one.masks[0, k].numpy()
            assert not differ.any()
            with Image.open(out / entry["map"]) as map:
                levels = np.asarray(map) / 255
            # A large map is enlarged from the size at which its mask is made.
            size = tuple(one.maps.shape[2:])
            through = module.enlarge(module.enlarge(one.coarse, module.mask_size(size)), size)
            np.testing.assert_allclose(levels, through[0, k], atol=0.01)
    assert len(written) == expected >= 3


def test_the_side_of_masks_is_what_the_pages_say():
    assert module.MASK_SIDE == 1024
