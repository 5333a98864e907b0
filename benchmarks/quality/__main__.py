"""Measure the CAM and every refinement of it on composed photographs with exact masks.

    python -m benchmarks.quality --scenes 249

EfficientNet-Lite0, no training. Thresholds are chosen on the validation split and applied to the
test split; the best on the test split itself stands beside, as papers print it.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.quality_maps import (
    CUT,
    DEFAULT,
    METHODS,
    SIDE,
    Located,
    coarse_to_fine,
    locate,
    prepared,
)
from benchmarks.quality_report import draw_cases, draw_figures, save, table
from benchmarks.scenes import Scenes, load_sources
from wsolrefine import scg
from wsolrefine.cli.maps import REFINE
from wsolrefine.metrics import (
    BoxAccuracy,
    PeakIoUResult,
    count_box_hits,
    count_box_hits_half_open,
    count_grey_levels,
    count_scores,
    max_box_acc,
    peak_iou,
    pixel_average_precision,
    thresholds_of,
)

STEPS = thresholds_of(0.001)
IOUS = (0.3, 0.5, 0.7)


class Measured(NamedTuple):
    """The figures of one method on one split."""

    all_boxes: BoxAccuracy  # MaxBoxAccV2
    one_box: BoxAccuracy  # MaxBoxAcc
    pixels: float  # PxAP
    grey: PeakIoUResult


class Truth(Protocol):
    """What maps are measured against."""

    @property
    def masks(self) -> Tensor: ...  # (N, SIDE, SIDE)
    @property
    def boxes(self) -> list[Tensor]: ...  # N of (1, 4), in pixels of the scene
    @property
    def sizes(self) -> list[tuple[int, int]]: ...  # of the scenes


def measure(maps: Tensor, found: Truth) -> Measured:
    maps = prepared(maps)
    count = partial(count_box_hits, maps, found.boxes, image_sizes=found.sizes, thresholds=STEPS)
    every = count(ious=IOUS, all_contours=True)
    one = count(ious=(0.5,))
    return Measured(
        max_box_acc(every, len(maps), STEPS),
        max_box_acc(one, len(maps), STEPS),
        pixel_average_precision(count_scores(maps, found.masks)).average_precision.item(),
        peak_iou(count_grey_levels(maps, found.masks)),
    )


def at_thresholds_of(chosen: BoxAccuracy, measured: BoxAccuracy) -> float:
    """Return the accuracy at the thresholds that are best elsewhere, averaged over the IoUs."""
    at = torch.searchsorted(chosen.thresholds, chosen.best_thresholds)
    return measured.curve.gather(1, at[:, None]).mean().item()


def row(name: str, found: dict[str, Located]) -> tuple[dict[str, str | float], list[float]]:
    """Return the figures of one method as fractions, and its box accuracy at 0, 0.01, ... 0.99."""
    chosen, test = (measure(METHODS[name](found[split]), found[split]) for split in found)
    peak = int(chosen.grey.peak_threshold)
    figures: dict[str, str | float] = {
        "method": name,
        "MaxBoxAccV2": at_thresholds_of(chosen.all_boxes, test.all_boxes),
        "best MaxBoxAccV2": test.all_boxes.accuracy.item(),
        "box accuracy 0.5": at_thresholds_of(chosen.one_box, test.one_box),
        "PxAP": test.pixels,
        "Peak-IoU": test.grey.curve[peak].item(),
        "best Peak-IoU": test.grey.peak_iou.item(),
        "Peak-T": peak,
        "threshold 0.5": chosen.one_box.best_thresholds.item(),
    }
    return figures, test.one_box.curve[0, ::10].tolist()


def search(found: Located) -> None:
    """Print scg over layers and orders, then over thresholds, on the validation split."""
    layers: list[tuple[int, ...]] = [(28,), (14,), (7,), (14, 7), (28, 14), (28, 14, 7)]
    orders: list[tuple[int, ...]] = [(1,), (1, 2), (1, 2, 3)]
    cuts = [(0.5, 0.3), (0.6, 0.2), (0.6, 0.4), (0.7, 0.3), (0.7, 0.5), (0.8, 0.4)]
    tried = [(sides, order, (0.6, 0.3)) for sides in layers for order in orders]
    tried += [((28, 14), (1, 2), cut) for cut in cuts]
    print("MaxBoxAccV2   PxAP  layers       orders     foreground background")
    for sides, order, (high, low) in tried:
        features = [found.features[side] for side in sides]
        maps = scg(found.cam, features, orders=order, foreground=high, background=low)
        figures = measure(maps, found)
        print(
            f"{100 * figures.all_boxes.accuracy:11.1f} {100 * figures.pixels:6.1f}  "
            f"{sides!s:12} {order!s:10} {high:10} {low:10}",
            flush=True,
        )


def search_crf(found: Located) -> None:
    """Print conv_crf over cuts, then over scales and windows, on the validation split."""
    fine, cuts = ((4, 2, 1), 11), (0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    print("Peak-IoU MaxBoxAccV2   PxAP s/image  map, cut, scales and window of conv_crf")
    for name in ("cam", DEFAULT):
        maps = prepared(METHODS[name](found))
        tried: list[tuple[float, tuple[int, ...], int]] = [(cut, *fine) for cut in cuts]
        tried += [(CUT, (1,), 11), (CUT, (1,), 21)] if name == DEFAULT else []
        for cut, scales, window in tried:
            begun = time.perf_counter()
            drawn = coarse_to_fine(maps, found.images, cut, scales=scales, window=window)
            seconds = (time.perf_counter() - begun) / len(maps)
            figures = measure(drawn, found)
            print(
                f"{100 * figures.grey.peak_iou:8.1f} {100 * figures.all_boxes.accuracy:11.1f} "
                f"{100 * figures.pixels:6.1f} {seconds:7.2f}  {name}, {cut}, {scales}, {window}",
                flush=True,
            )


def command_thresholds(found: Located) -> None:
    """Print the best threshold of ``wsolrefine refine`` for each of its methods (IoU 0.5)."""
    steps = thresholds_of(0.01)
    features = [found.features[28], found.features[14]]
    print("wsolrefine refine, largest piece, half-open boxes, IoU 0.5 on validation:")
    for method, refine in REFINE.items():
        maps = refine(found.cam[:, None], features)
        large = F.interpolate(maps, size=(SIDE, SIDE), mode="bilinear")[:, 0]
        hits = count_box_hits_half_open(
            large, found.boxes, image_sizes=found.sizes, thresholds=steps
        )
        best = max_box_acc(hits, len(large), steps)
        close = best.thresholds[best.curve[0] >= best.accuracy - 0.02].tolist()
        print(
            f"{method.value:8} {best.best_thresholds.item():.2f} gives {100 * best.accuracy:.1f} %;"
            f" within two points from {close[0]:.2f} to {close[-1]:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--scenes", type=int, default=249, help="of the test split, and as many of validation"
    )
    parser.add_argument("--folder", type=Path, help="where the packages are unpacked already")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument(
        "--search", action="store_true", help="settings of scg and conv_crf, on validation"
    )
    parser.add_argument("--thresholds", action="store_true", help="of wsolrefine refine, likewise")
    parser.add_argument("--pictures", type=Path, help="folder for the best and the worst cases")
    options = parser.parse_args()
    sources = load_sources(options.folder)
    choosing = options.search or options.thresholds
    splits = ("validation",) if choosing else ("validation", "test")
    scenes = {name: Scenes(sources, name, options.scenes, seed=options.seed) for name in splits}
    found = {name: locate(of_split) for name, of_split in scenes.items()}
    if options.search:
        search(found["validation"])
        search_crf(found["validation"])
    if options.thresholds:
        command_thresholds(found["validation"])
    if choosing:
        return
    rows, curves = [], {}
    for name in METHODS:
        figures, curves[name] = row(name, found)
        rows.append(figures)
        print(f"\r{len(rows)}/{len(METHODS)} methods", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(rows))
    save(options.out, rows, scenes, options.seed)
    if options.pictures:
        draw_figures(options.pictures, rows, curves)
        draw_cases(options.pictures, scenes["test"], found["test"], rows)


if __name__ == "__main__":
    main()
