"""One photograph of the demo: the methods, their times and their images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsolrefine import Localizer
from wsolrefine.data import read_image
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.viz import draw_boxes, overlay

METHODS_SHOWN = ("cam", "scg", "fast", "balanced", "accurate")
"""In the order of the columns."""


def localizers(
    first: Localizer,
    path: Path,
    threshold: float | None,
    methods: Sequence[str] = METHODS_SHOWN,
) -> dict[str, Localizer]:
    """Return a localizer for each method, all with the model and the layers of the first.

    The layers were found when it was tried, on an image of the size that all photographs get.
    """
    layers = first._layers(first.prepare_image(read_image(path))[None])
    names, preprocess = first.class_names, first.preprocess
    return {
        method: Localizer(
            first.model,
            refine=method,
            threshold=threshold,
            layers=layers,
            preprocess=preprocess,
            class_names=names,
        )
        for method in methods
    }


def run_methods(localizers: dict[str, Localizer], path: Path) -> tuple[list[Any], dict[str, Any]]:
    """Classify a photograph and find the box of its object with each method.

    Returns:
        The row of images, and a record: class, confidence, boxes of the default and of the CAM
        (xyxy in pixels of the photograph), milliseconds of each method with the model's.

    """
    image = read_image(path)
    found, milliseconds = {}, {}
    for method, localizer in localizers.items():
        start = time.perf_counter()
        found[method] = localizer(image)
        milliseconds[method] = round(1000 * (time.perf_counter() - start), 2)
    best, cam = found[DEFAULT], found["cam"]
    pixels = np.asarray(image)
    overlays = [overlay(pixels, one.maps[0, 0]) for one in found.values()]
    width = max(1, max(image.size) // 80)  # the image is shown at about a quarter of its size
    boxed = draw_boxes(pixels, cam.boxes[0, 0], width=width, dashed=True)
    boxed = draw_boxes(boxed, best.boxes[0, 0], width=width, color=(80, 255, 80))
    label = int(best.labels)
    return [pixels, *overlays, boxed], {
        "image": path.name,
        "class": best.class_names[label] if best.class_names else str(label),
        "class_index": label,
        "confidence": round(best.scores.item(), 4),
        "box": best.boxes[0, 0].tolist(),
        "cam_box": cam.boxes[0, 0].tolist(),
        "milliseconds": milliseconds,
    }
