"""From maps to numbers, in the protocol of all benchmarks."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wsolrefine.metrics import (
    BoxAccuracy,
    count_box_hits,
    count_scores,
    max_box_acc,
    pixel_average_precision,
    prepare_score_map,
    thresholds_of,
)

SIDE = 224
STEPS = thresholds_of(0.001)
IOUS = (0.3, 0.5, 0.7)


class Measured(NamedTuple):
    """The results of one method on one split."""

    all_boxes: BoxAccuracy  # MaxBoxAccV2
    one_box: BoxAccuracy  # MaxBoxAcc
    pixels: float | None  # PxAP, if there are masks


class Truth(Protocol):
    """What maps are measured against."""

    @property
    def masks(self) -> Tensor | None: ...  # (N, SIDE, SIDE)
    @property
    def boxes(self) -> list[Tensor]: ...  # N of (n, 4), in pixels of the image
    @property
    def sizes(self) -> list[tuple[int, int]]: ...  # of the images


def prepared(maps: Tensor) -> Tensor:
    """Resize maps ``(N, h, w)`` as ``wsolrefine evaluate`` and wsolevaluation do."""
    return torch.stack([prepare_score_map(map, (SIDE, SIDE)) for map in maps])


def measure(maps: Tensor, truth: Truth) -> Measured:
    """Resize maps ``(N, h, w)`` and measure them."""
    maps = prepared(maps)
    count = partial(count_box_hits, maps, truth.boxes, image_sizes=truth.sizes, thresholds=STEPS)
    every = count(ious=IOUS, all_contours=True)
    pixels = None
    if truth.masks is not None:
        scores = count_scores(maps, truth.masks)
        pixels = pixel_average_precision(scores).average_precision.item()
    return Measured(
        max_box_acc(every, len(maps), STEPS),
        max_box_acc(count(ious=(0.5,)), len(maps), STEPS),
        pixels,
    )


def at_thresholds_of(chosen: BoxAccuracy, measured: BoxAccuracy) -> Tensor:
    """Return the accuracy of each IoU at the thresholds that are best elsewhere."""
    at = torch.searchsorted(chosen.thresholds, chosen.best_thresholds)
    return measured.curve.gather(1, at[:, None])[:, 0]
