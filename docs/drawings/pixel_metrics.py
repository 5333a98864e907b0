"""Images of the metrics of pixels, on a photograph of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from PIL import ImageColor
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from drawings import truth
from wsolrefine import metrics

RIGHT, FALSE, MISSED = "#2b8a3e", "#e03131", "#1971c2"


def draw_mask_iou() -> None:
    image, mask, (_, map) = _with_truth()
    metric = metrics.PeakIoU()
    metric.update(map[None], mask[None].byte())
    found = metric.details()
    best = int(found.peak_threshold)
    gray = (255 * w.minmax(map[None])[0]).byte()
    panels = []
    for name, level in (("low", 30), ("best", best), ("high", 200)):
        title = f"{name}: T = {level}, IoU {float(found.curve[level]):.2f}"
        panels.append(p.picture(title, _compared(image, gray >= level, mask)))
    panels[-1] = _with_legend(panels[-1], [(RIGHT, "TP"), (FALSE, "FP"), (MISSED, "FN")])
    marks = {f"Peak-IoU {float(found.peak_iou):.2f}": (best, float(found.peak_iou))}
    panels.append(p.curves("IoU", {"": (range(256), found.curve)}, "gray level T", marks=marks))
    p.save("mask_iou", panels, columns=2, cell=2.7, ratio=0.68, most=40_000)


def draw_pixel_precision() -> None:
    image, mask, maps = _with_truth()
    panels = []
    lines = {}
    for name, map in zip(("CAM", "scg"), maps, strict=True):
        metric = metrics.PxAP()
        metric.update(map[None], mask[None].byte())
        found = metric.details()
        title = f"{name}: PxAP {float(found.average_precision):.2f}"
        panels.append(p.over(title, image, map))
        lines[name] = found.recall, found.precision
    panels.insert(0, p.picture("object", _compared(image, mask, mask)))
    panels.append(p.curves("precision", lines, "recall"))
    p.save("pixel_precision", panels, columns=2, cell=2.7, ratio=0.68, most=40_000)


def draw_boundary() -> None:
    image, mask, (_, map) = _with_truth(280)
    edges = soft_edges(image, map)
    lines = w.outline(mask[None].byte())
    metric = metrics.BoundaryScore()
    metric.update(edges, lines)
    found = metric.details()
    threshold = float(found.ods_threshold)
    predicted = w.thin(w.suppress_non_maxima(edges) >= threshold)
    hits, met = metrics.match_boundaries(predicted, lines)
    shown = np.full((*mask.shape, 3), 255, np.uint8)
    for pixels, color in ((predicted & ~hits, FALSE), (lines & ~met, MISSED), (hits, RIGHT)):
        shown[pixels[0].numpy()] = ImageColor.getrgb(color)
    at = int((found.thresholds - threshold).abs().argmin())
    marks = {f"ODS {float(found.ods):.2f}": (float(found.recall[at]), float(found.precision[at]))}
    panels = [
        p.picture("soft edges", (255 * edges[0, ..., None]).byte().expand(-1, -1, 3).numpy()),
        p.picture("true boundary", np.where(lines[0, ..., None], 60, 255).repeat(3, 2)),
        _with_legend(
            p.picture(f"lines at {threshold:.2f}", shown),
            [(RIGHT, "matched"), (FALSE, "false"), (MISSED, "missed")],
        ),
        p.curves("precision", {"": (found.recall, found.precision)}, "recall", marks=marks),
    ]
    p.save("boundary", panels, columns=2, cell=2.7, ratio=0.68, most=45_000)


def soft_edges(image: np.ndarray, map: Tensor) -> Tensor:
    """Return the strength of the photograph's edges times a map (H, W), (1, H, W) in [0, 1]."""
    smooth = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    edges = (torch.from_numpy(gradient) * map)[None]
    return (edges / edges.quantile(0.98)).clamp(max=1)


def _with_truth(side: int | None = None) -> tuple[np.ndarray, Tensor, list[Tensor]]:
    """Return a photograph, its object, and the maps of the CAM and of scg, (H, W) in [0, 1]."""
    seen, mask = p.look(p.MOTORCYCLE), truth.motorcycle_mask()
    image = seen.image
    if side is not None:
        scale = side / max(image.shape)
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = cv2.resize(mask.float().numpy(), image.shape[1::-1], interpolation=cv2.INTER_AREA)
        mask = torch.from_numpy(small > 0.5)
    maps = (seen.cam[0], w.scg(seen.cam, seen.both)[0])
    return image, mask, [torch.from_numpy(p.enlarge(map, image)) for map in maps]


def _compared(image: np.ndarray, mask: Tensor, true: Tensor) -> np.ndarray:
    """Color what a mask has right, too much, and too little."""
    shown = (0.35 * image + 0.65 * 245).astype(np.uint8)
    for pixels, color in ((mask & true, RIGHT), (mask & ~true, FALSE), (true & ~mask, MISSED)):
        where = pixels.numpy()
        shown[where] = (0.45 * image[where] + 0.55 * np.array(ImageColor.getrgb(color))).astype(
            np.uint8
        )
    return shown


def _with_legend(panel: p.Panel, entries: Sequence[tuple[str, str]]) -> p.Panel:
    def draw(axes: Axes) -> None:
        panel(axes)
        p.legend(axes, entries)

    return draw
