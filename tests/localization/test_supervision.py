"""Detections of supervision: one for each object, none where a mask is empty."""

import sys

import numpy as np
import pytest
import supervision as sv
import torch

from tests.support.small_localizers import SIDE, images, localizer_of
from tests.support.zoo import CLASSES

NAMES = [f"name {label}" for label in range(CLASSES)]


@pytest.mark.parametrize("parts", ["largest", "instances"])
@pytest.mark.parametrize("names", [None, NAMES])
def test_each_object_is_a_detection(parts, names):
    found = localizer_of(parts=parts, class_names=names)(images(2), [[3, 7], [5]])
    for b, detections in enumerate(found.to_supervision()):
        assert isinstance(detections, sv.Detections)
        place = 0
        for k, label in enumerate(found.labels[b].tolist()):
            for mask, box, score in zip(*found.instances[b][k], strict=True):
                assert (detections.mask[place] == mask.numpy()).all()
                assert detections.xyxy[place].tolist() == box.tolist()
                assert detections.confidence[place] == pytest.approx(score.item())
                assert detections.class_id[place] == label
                expected = NAMES[label] if names else f"class {label}"
                assert detections["class_name"][place] == expected
                place += 1
        assert len(detections) == place > 0


def test_an_empty_mask_gives_none_and_annotators_take_it():
    found = localizer_of(refine="cam")(
        torch.cat([images(1), torch.zeros(1, 3, SIDE, SIDE)]), [[3], []]
    )
    both = found.to_supervision()
    assert [len(one) for one in both] == [1, 0]
    assert both[1].is_empty()
    for detections in both:
        scene = np.full((SIDE, SIDE, 3), 128, np.uint8)
        drawn = sv.MaskAnnotator().annotate(
            sv.BoxAnnotator().annotate(scene, detections), detections
        )
        assert (drawn != 128).any() == bool(len(detections))
    merged = sv.Detections.merge(both)
    assert len(merged) == 1


def test_of_no_image_there_is_nothing_and_half_precision_passes():
    localizer = localizer_of(refine="cam")
    assert localizer(images(0)).to_supervision() == []
    found = localizer_of(dtype=torch.bfloat16, refine="cam")(images(1, dtype=torch.bfloat16))
    assert found.to_supervision()[0].confidence.dtype == np.float32


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"^to_supervision: .*: pip install supervision$"):
        localizer_of(refine="cam")(images(1)).to_supervision()
