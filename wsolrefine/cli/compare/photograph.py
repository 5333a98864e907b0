"""One photograph of a comparison: what each method finds, and how far they agree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from wsolrefine import Localization, Localizer
from wsolrefine.cli.report.agreement import mean_iou
from wsolrefine.cli.report.runs import Box, short_name
from wsolrefine.localization.masks import enlarge
from wsolrefine.viz import draw_boxes, overlay

LONGEST = 640
"""Pixels of a photograph in the picture, whose columns are about half as wide."""

Found = dict[str, tuple[Localization, float]]
"""What each method has found, and the seconds that it took."""


def try_methods(methods: Mapping[str, Localizer], image: Image.Image) -> Found:
    """Find the object of a photograph with each method."""
    found = {}
    for name, localizer in methods.items():
        start = time.perf_counter()
        one = localizer(image).to("cpu")  # which also waits for a GPU
        found[name] = one, time.perf_counter() - start
    return found


def compare_photograph(
    methods: Mapping[str, Localizer], image: Image.Image, name: str
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Compare methods on a photograph.

    Args:
        methods: the localizers by name, that of the CAM among them.
        image: the photograph.
        name: what it is called.

    Returns:
        The row of images; and for each method image, method, class, score, box (None: the mask is
        empty), share of the mask, IoU with the box of the CAM, mean IoU with the boxes of the
        others (None: there are none), seconds.

    """
    found = try_methods(methods, image)
    boxes = {method: _box(one) for method, (one, _) in found.items()}
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST))
    pixels = np.asarray(small)
    scale = np.tile(np.divide(small.size, image.size), 2)
    cells, records = [pixels], []
    for method, (one, seconds) in found.items():
        label = int(one.labels)
        title = short_name(one.class_names[label]) if one.class_names else f"class {label}"
        others = [mean_iou([boxes[method], box]) for other, box in boxes.items() if other != method]
        known = [iou for iou in others if iou is not None]
        records.append(
            {
                "image": name,
                "method": method,
                "class": title,
                "class_index": label,
                "score": round(one.scores.item(), 6),
                "box": boxes[method],
                "mask_share": round(one.masks.float().mean().item(), 6),
                "iou_with_cam": mean_iou([boxes[method], boxes["cam"]]),
                "agreement": sum(known) / len(known) if known else None,
                "seconds": round(seconds, 4),
            }
        )
        cells.append(_cell(pixels, one, [boxes["cam"], boxes[method]], scale))
    return cells, records


def _box(found: Localization) -> Box | None:
    x0, y0, x1, y1 = found.boxes[0, 0].tolist()
    return (x0, y0, x1, y1) if x1 > x0 else None


def _cell(pixels: Any, found: Localization, boxes: list[Box | None], scale: Any) -> Any:
    """Draw the heatmap, the box of the CAM (dashed) and that of the method."""
    map = enlarge(found.coarse, pixels.shape[:2])[0, 0]
    drawn = overlay(pixels, map.clamp(0, 1))
    width = max(2, max(pixels.shape) // 100)
    cam, own = (np.zeros(4) if box is None else np.multiply(box, scale) for box in boxes)
    if found.method != "cam":
        drawn = draw_boxes(drawn, cam, width=width, dashed=True)
    return draw_boxes(drawn, own, width=width, color=(80, 255, 80))
