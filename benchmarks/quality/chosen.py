"""Results at thresholds that are chosen on other images than those measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.quality.counts import Counts, Facts
from benchmarks.quality.measure import IOUS, STEPS
from wsolrefine.metrics import max_box_acc, peak_iou

Fold = tuple[Tensor, Counts]
"""Which images are measured, ``(N,)`` bool, and the counts that their thresholds are chosen on."""


class Chosen(NamedTuple):
    """The results of N images."""

    every: Tensor  # (N, IOUS), 1 where hit
    one: Tensor  # (N,), 1 where hit
    thresholds: list[list[float]]  # of each fold: for the IoUs, then for one box
    levels: list[int]  # of each fold: the gray level of Peak-IoU
    overlap: float | None  # Peak-IoU at that level


def folds(counts: Counts, facts: Facts, elsewhere: Counts | None) -> Iterator[Fold]:
    """Yield all images with the counts from elsewhere, or each half with those of the other."""
    everything = torch.ones(len(counts.every), dtype=torch.bool)
    if elsewhere is not None:
        yield everything, elsewhere
        return
    # Every second image of each set, so that both halves hold the same share of each.
    odd = torch.zeros_like(everything)
    for source in range(int(facts.sources.max()) + 1):
        odd[(facts.sources == source).nonzero()[1::2, 0]] = True
    if not odd.any():
        raise ValueError("data: expected several images in a set, or others of --choose, got one")
    for half in (odd, ~odd):
        yield half, only(counts, ~half)


def only(counts: Counts, which: Tensor) -> Counts:
    """Return the counts of some images."""
    scores, gray = (None if part is None else part[which] for part in (counts.scores, counts.gray))
    return Counts(counts.every[which], counts.one[which], scores, gray)


def at_chosen(counts: Counts, facts: Facts, elsewhere: Counts | None) -> Chosen:
    """Return the results of a row, image by image.

    Args:
        counts: of the images that are measured.
        facts: what is true of them.
        elsewhere: counts of the images on which thresholds are chosen; None: the other half.

    """
    every = torch.zeros(len(counts.every), len(IOUS), dtype=torch.float64)
    one = torch.zeros(len(counts.one), dtype=torch.float64)
    pixels = torch.zeros(3, dtype=torch.float64)  # of the object found, of others found, missed
    thresholds, levels = [], []
    for measured, choosing in folds(counts, facts, elsewhere):
        best, best_one = _best(choosing.every), _best(choosing.one)
        for iou, at in enumerate(best):
            every[measured, iou] = counts.every[measured, iou, at].double()
        one[measured] = counts.one[measured, 0, best_one[0]].double()
        thresholds.append([round(STEPS[at], 3) for at in (*best, *best_one)])
        if counts.gray is not None and choosing.gray is not None:
            level = int(peak_iou(choosing.gray).peak_threshold)
            gray = counts.gray[measured].sum(0)
            found, missed = gray[:, level:].sum(1), gray[0, :level].sum()
            pixels += torch.tensor([*found, missed])
            levels.append(level)
    overlap = (pixels[0] / pixels.sum()).item() if levels else None
    return Chosen(every, one, thresholds, levels, overlap)


def _best(hits: Tensor) -> list[int]:
    """Return the place of the threshold that is best for each IoU, the lowest on ties."""
    best = max_box_acc(hits.sum(0), len(hits), STEPS).best_thresholds
    return [STEPS.index(threshold) for threshold in best.tolist()]
