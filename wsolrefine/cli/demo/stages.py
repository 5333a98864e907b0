"""One photograph of the demo: every stage, its time, its picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsolrefine import gppl, scg, union_box
from wsolrefine.activation.cams import gap_cam
from wsolrefine.activation.hooks import capture
from wsolrefine.activation.layers import Layers
from wsolrefine.cli.maps import REFINE, Method, cut_out, enlarge
from wsolrefine.data import read_image
from wsolrefine.models import Classifier
from wsolrefine.viz import draw_boxes, overlay


def locate(
    classifier: Classifier, layers: Layers, path: Path, thresholds: Mapping[Method, float]
) -> tuple[list[Any], dict[str, Any]]:
    """Classify a photograph, refine its CAM three ways and box the object.

    Args:
        classifier: one whose head averages the grid and applies a linear layer.
        layers: where its features are.
        path: the photograph.
        thresholds: of the methods ``scg`` and ``cam``: values above which a pixel is object.

    Returns:
        The row of pictures, and what there is to say: class, confidence, boxes of SCG and of the
        CAM (xyxy in pixels of the photograph), milliseconds of each stage.

    """
    image = read_image(path)
    images, size = classifier.preprocess(image)[None], (image.height, image.width)
    spent: dict[str, float] = {}
    head = classifier.model.get_submodule(layers.head or "")
    with torch.no_grad():
        with (
            clock(spent, "forward"),
            capture(classifier.model, layers.cam, *layers.features) as kept,
        ):
            logits = classifier.model(images)
        features = [kept[name] for name in layers.features]
        confidence, label = (value.item() for value in logits.softmax(1).max(1))
        with clock(spent, "CAM"):
            weight = head.weight
            assert isinstance(weight, Tensor)
            cam = gap_cam(kept[layers.cam], weight, torch.tensor([int(label)]))
        with clock(spent, "SEM"):
            by_sem = REFINE[Method.sem](cam, features)
        with clock(spent, "SCG"):
            by_scg = scg(cam, features)
        with clock(spent, "GPPL"):
            by_gppl = gppl(cam)
        with clock(spent, "box"):
            box = union_box(cut_out(enlarge(by_scg, size), thresholds[Method.scg]))[0]
    cam_box = union_box(cut_out(enlarge(cam, size), thresholds[Method.cam]))[0]
    pixels = np.asarray(image)
    maps = [overlay(pixels, enlarge(map, size)[0]) for map in (cam, by_sem, by_scg, by_gppl)]
    thick = max(1, max(size) // 80)  # seen at a quarter of its size
    boxed = draw_boxes(
        draw_boxes(pixels, cam_box, width=thick, dashed=True), box, width=thick, color=(80, 255, 80)
    )
    names = classifier.class_names
    return [pixels, *maps, boxed], {
        "image": path.name,
        "class": names[int(label)] if names else str(int(label)),
        "class_index": int(label),
        "confidence": round(confidence, 4),
        "box": box.tolist(),
        "cam_box": cam_box.tolist(),
        "milliseconds": {name: round(1000 * seconds, 2) for name, seconds in spent.items()},
    }


@contextmanager
def clock(spent: dict[str, float], stage: str) -> Iterator[None]:
    """Note the seconds that a stage takes."""
    start = time.perf_counter()
    yield
    spent[stage] = time.perf_counter() - start
