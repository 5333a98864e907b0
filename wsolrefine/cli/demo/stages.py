"""One photograph of the demo: the stages, their times and their images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsolrefine import Layers, Localizer, class_activation
from wsolrefine.data import read_image
from wsolrefine.localization.class_maps import probabilities
from wsolrefine.localization.masks import enlarge, masks_and_boxes
from wsolrefine.localization.methods import METHODS
from wsolrefine.viz import draw_boxes, overlay

REFINEMENTS = ("sem", "scg", "gppl")


def layers_of(localizer: Localizer, path: Path) -> Layers:
    """Return the layers of the classifier for all photographs, which it gets at one size.

    They were found when the localizer was tried, on an image of this size.
    """
    return localizer._layers(localizer.prepare_image(read_image(path))[None])


def run_stages(
    localizer: Localizer, layers: Layers, path: Path, thresholds: Mapping[str, float]
) -> tuple[list[Any], dict[str, Any]]:
    """Classify a photograph, refine its CAM with three methods and find the box.

    Args:
        localizer: a classifier with its preprocessing.
        layers: see :func:`layers_of`.
        path: the photograph.
        thresholds: for ``scg`` and ``cam``, the map value above which a pixel is object.

    Returns:
        The row of images, and a record: class, confidence, boxes of SCG and of the CAM (xyxy in
        pixels of the photograph), milliseconds of each stage.

    """
    image = read_image(path)
    images, size = localizer.prepare_image(image)[None], (image.height, image.width)
    seconds: dict[str, float] = {}
    with torch.no_grad():
        with clock(seconds, "forward, CAM"):
            found = class_activation(localizer.model, images, layers=layers)
        maps = {"cam": found.cam}
        for name in REFINEMENTS:
            with clock(seconds, name.upper()):
                maps[name] = METHODS[name].refine(found.cam, found.features, images)
        with clock(seconds, "box"):
            _, boxes = masks_and_boxes(maps["scg"], size, thresholds["scg"], "largest")
        _, cam_boxes = masks_and_boxes(maps["cam"], size, thresholds["cam"], "largest")
    confidence, label = (value.item() for value in probabilities(found.logits).max(1))
    pixels = np.asarray(image)
    overlays = [overlay(pixels, enlarge(map, size)[0, 0]) for map in maps.values()]
    width = max(1, max(size) // 80)  # the image is shown at about a quarter of its size
    boxed = draw_boxes(pixels, cam_boxes[0, 0], width=width, dashed=True)
    boxed = draw_boxes(boxed, boxes[0, 0], width=width, color=(80, 255, 80))
    names = localizer.class_names
    return [pixels, *overlays, boxed], {
        "image": path.name,
        "class": names[int(label)] if names else str(int(label)),
        "class_index": int(label),
        "confidence": round(confidence, 4),
        "box": boxes[0, 0].tolist(),
        "cam_box": cam_boxes[0, 0].tolist(),
        "milliseconds": {stage: round(1000 * value, 2) for stage, value in seconds.items()},
    }


@contextmanager
def clock(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Record the seconds that a stage takes."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
