"""Settings and thresholds, searched on the validation split only."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.quality.maps import DEFAULT, ROWS, SIDE, Located, aligned, prepared
from benchmarks.quality.measure import measure
from wsolrefine import scg
from wsolrefine.localization.methods import CRF_THRESHOLD, METHODS
from wsolrefine.metrics import count_box_hits_half_open, max_box_acc, thresholds_of


def search_scg(found: Located) -> None:
    """Print scg over layers and orders, then over thresholds."""
    layers: list[tuple[int, ...]] = [(28,), (14,), (7,), (14, 7), (28, 14), (28, 14, 7)]
    orders: list[tuple[int, ...]] = [(1,), (1, 2), (1, 2, 3)]
    thresholds = [(0.5, 0.3), (0.6, 0.2), (0.6, 0.4), (0.7, 0.3), (0.7, 0.5), (0.8, 0.4)]
    tried = [(sides, order, (0.6, 0.3)) for sides in layers for order in orders]
    tried += [((28, 14), (1, 2), pair) for pair in thresholds]
    print("MaxBoxAccV2   PxAP  layers       orders     foreground background")
    for sides, order, (high, low) in tried:
        features = found.layers(*sides)
        maps = scg(found.cam, features, orders=order, foreground=high, background=low)
        results = measure(maps, found)
        print(
            f"{100 * results.all_boxes.accuracy:11.1f} {100 * results.pixels:6.1f}  "
            f"{sides!s:12} {order!s:10} {high:10} {low:10}",
            flush=True,
        )


def search_crf(found: Located) -> None:
    """Print conv_crf over thresholds, then over scales and windows."""
    fine, thresholds = ((4, 2, 1), 11), (0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    print("Peak-IoU MaxBoxAccV2   PxAP s/image  map, threshold, scales and window of conv_crf")
    for name in ("cam", DEFAULT):
        maps = prepared(ROWS[name](found))
        tried: list[tuple[float, tuple[int, ...], int]] = [(value, *fine) for value in thresholds]
        tried += [(CRF_THRESHOLD, (1,), side) for side in (11, 21)] if name == DEFAULT else []
        for threshold, scales, window in tried:
            start = time.perf_counter()
            after = aligned(maps, found.colors(), threshold, scales=scales, kernel_size=window)
            seconds = (time.perf_counter() - start) / len(maps)
            results = measure(after, found)
            print(
                f"{100 * results.gray.peak_iou:8.1f} {100 * results.all_boxes.accuracy:11.1f} "
                f"{100 * results.pixels:6.1f} {seconds:7.2f}  "
                f"{name}, {threshold}, {scales}, {window}",
                flush=True,
            )


def search_thresholds(found: Located) -> None:
    """Print the best threshold of each method of :class:`wsolrefine.Localizer` (IoU 0.5)."""
    steps = thresholds_of(0.01)
    print("wsolrefine refine, largest component, half-open boxes, IoU 0.5 on validation:")
    for name in METHODS:
        maps = refined(found, name)
        hits = count_box_hits_half_open(
            maps, found.boxes, image_sizes=found.sizes, thresholds=steps
        )
        best = max_box_acc(hits, len(maps), steps)
        close = best.thresholds[best.curve[0] >= best.accuracy - 0.02].tolist()
        print(
            f"{name:8} {best.best_thresholds.item():.2f} gives {100 * best.accuracy:.1f} %; "
            f"within two points from {close[0]:.2f} to {close[-1]:.2f}; "
            f"default {METHODS[name].threshold:.2f}",
            flush=True,
        )


def refined(found: Located, name: str) -> Tensor:
    """Return the maps ``(N, SIDE, SIDE)`` of a method, image by image as the CRF needs it."""
    refine, maps = METHODS[name].refine, []
    for index, image in enumerate(found.colors()[:, None]):
        at = slice(index, index + 1)
        features = [layer[at] for layer in found.layers(28, 14)]
        map = refine(found.cam[at, None], features, image)
        maps.append(F.interpolate(map, size=(SIDE, SIDE), mode="bilinear")[0])
    return torch.cat(maps)
