"""Several objects of a class: their masks, boxes and scores."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references.components import box
from tests.support.small_localizers import build, images, objects, photograph, tensors
from tests.support.strategies import SEEDS
from wsolrefine import Instances, Localizer, Preprocess, localize
from wsolrefine.viz import sheets

IMAGES = images(3)


def find(batch=IMAGES, top=2, **options):
    options = {"refine": "cam", "threshold": 0.3, "parts": "instances"} | options
    return Localizer(build(), preprocess=Preprocess((64, 64)), **options)(batch, top=top)


@given(seed=SEEDS, threshold=st.integers(0, 99).map(lambda percent: percent / 100))
def test_they_are_as_defined(seed, threshold):
    found = find(images(2, seed=seed, dtype=torch.float32), threshold=threshold)
    for b in range(2):
        for k in range(2):
            labels = objects(found.maps[b, k], threshold)
            masks, boxes, scores = found.instances[b][k]
            assert isinstance(found.instances[b][k], Instances)
            assert torch.equal(found.objects[b, k].long(), labels)
            assert len(masks) == len(boxes) == len(scores) == labels.max()
            peaks = []
            for number, (mask, around) in enumerate(zip(masks, boxes, strict=True), 1):
                assert torch.equal(mask, labels == number)
                assert around.tolist() == box(mask.numpy())
                peaks.append(found.maps[b, k][mask].max())
            if peaks:
                expected = found.scores[b, k] * torch.stack(peaks) / max(peaks)
                torch.testing.assert_close(scores, expected)
                assert scores[0] == found.scores[b, k]
            assert torch.equal(masks.any(0), found.masks[b, k])
            assert found.boxes[b, k].tolist() == box(found.masks[b, k].numpy())


def test_some_images_have_several():
    """Otherwise the comparison with the definition would say nothing."""
    assert max(len(found.boxes) for row in find().instances for found in row) > 1


@pytest.mark.parametrize("parts", ["largest", "all"])
def test_otherwise_there_is_one_object(parts):
    found = find(parts=parts)
    assert found.objects is None
    for b, row in enumerate(found.instances):
        for k, (masks, boxes, scores) in enumerate(row):
            assert torch.equal(masks, found.masks[b, k : k + 1])
            assert torch.equal(boxes, found.boxes[b, k : k + 1])
            assert torch.equal(scores, found.scores[b, k : k + 1])


@pytest.mark.parametrize("parts", ["largest", "all", "instances"])
def test_nothing_found_is_no_object(parts):
    nothing = find(refine=lambda cam, *_: 0 * cam, parts=parts)
    edges = dataclasses.replace(find(parts=parts), regions=False)
    for found in (nothing, edges, edges.at(0.2)):
        for row in found.instances:
            for masks, boxes, scores in row:
                assert (masks.shape, boxes.shape, scores.shape) == ((0, 64, 64), (0, 4), (0,))
                assert (masks.dtype, boxes.dtype) == (torch.bool, torch.float32)
    assert find(IMAGES[:0], parts=parts).instances == []


def test_another_threshold_and_other_parts():
    found = find()
    other = found.at(0.5)
    assert other.parts == "instances"
    assert tensors(other).keys() == tensors(found).keys()
    assert torch.equal(other.objects, find(threshold=0.5).objects)
    assert found.at(0.5, parts="largest").objects is None
    again = found.at(0.5, parts="all").at(0.3, parts="instances")
    assert torch.equal(again.objects, found.objects)
    assert found.instances is found.instances  # made once
    assert found.to("meta").objects.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_scores_have_the_precision_of_those_of_the_classes(dtype):
    localizer = Localizer(build().to(dtype), refine="cam", parts="instances")
    found = localizer(IMAGES.to(dtype))
    assert found.instances[0][0].scores.dtype == found.scores.dtype == dtype
    assert found.instances[0][0].scores[0] == found.scores[0, 0]


def test_large_photographs():
    """Masks are made at a longer side of 1024 pixels and enlarged; boxes are in the photograph."""
    found = find(photograph(1500, 900))
    assert found.objects.shape[2:] == (900, 1500)
    for k in range(2):
        masks, boxes, scores = found.instances[0][k]
        assert [box(mask.numpy()) for mask in masks] == boxes.tolist()
        assert scores.max() == found.scores[0, k]


def test_the_picture_has_all_boxes(monkeypatch):
    kept = []
    monkeypatch.setattr(sheets, "draw_sheet", lambda *rows, **_: kept.append(rows))
    found = find()
    found.plot()
    ((rows, titles),) = kept
    assert titles[-1] == "boxes"
    for place, (pixels, _, _, boxed) in enumerate(rows):
        changed = (pixels != torch.from_numpy(boxed)).any(-1)
        for x0, y0, x1, y1 in found.instances[place // 2][place % 2].boxes.int().tolist():
            assert changed[y0:y1, x0].all()
            assert changed[y1 - 1, x0:x1].all()
    find(parts="all").plot()
    assert kept[1][1][-1] == "box"


def test_localize_takes_it_too():
    found = localize(build(), IMAGES, parts="instances")
    assert found.parts == "instances"
    assert len(found.instances) == 3
