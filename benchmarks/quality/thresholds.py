"""The best threshold of each method of ``Localizer``, on scenes and photographs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import table
from benchmarks.quality.images import Images
from benchmarks.quality.measure import IOUS, SIDE
from benchmarks.quality.network import Batch, Network, batches
from benchmarks.quality.rows import method
from wsolrefine.localization.methods import METHODS
from wsolrefine.metrics import count_box_hits_half_open, thresholds_of

STEPS = sorted({*thresholds_of(0.02), *(one.threshold for one in METHODS.values())})
CLOSE = 0.01  # of the best: a threshold that is about as good


class Best(NamedTuple):
    """The best threshold of a method, and those that are about as good."""

    threshold: float
    low: float
    high: float
    accuracies: list[float]  # of each kind of images, at the threshold
    default: list[float]  # at the threshold that the method has


def search_thresholds(
    network: Network, kinds: Mapping[str, Sequence[tuple[Images, Tensor]]]
) -> None:
    """Print the best threshold of each method, each kind of images with the same weight.

    As ``wsolrefine refine`` makes masks: half-open boxes, and a threshold that is a value of the
    map. MaxBoxAccV2 has one threshold for all IoUs here.
    """
    rows = {name: method(network, name) for name in METHODS}
    counts: dict[str, list[Tensor]] = {name: [] for name in METHODS}
    for sets in kinds.values():
        sums = {name: torch.zeros(2, len(STEPS), dtype=torch.float64) for name in METHODS}
        for images, labels in sets:
            for batch in batches(network, images, labels):
                for name, row in rows.items():
                    sums[name] += _hits(row(batch), batch)
        total = sum(len(images) for images, _ in sets)
        for name, hits in sums.items():
            counts[name].append(hits / total)
    titles = ("box accuracy at IoU 0.5, largest component", "MaxBoxAccV2, all components")
    for at, title in enumerate(titles):
        found = {
            name: best(torch.stack([curve[at] for curve in curves]), METHODS[name].threshold)
            for name, curves in counts.items()
        }
        print(f"{title}:\n\n{_table(found, [*kinds])}\n", flush=True)


def best(curves: Tensor, default: float) -> Best:
    """Return the best threshold of curves ``(kinds, STEPS)``: that of their mean.

    Of equal ones it is the middle one: an almost binary map is the same at all of them.
    """
    mean = curves.mean(0)
    equal = (mean == mean.max()).nonzero()[:, 0]
    at = int(equal[len(equal) // 2])
    close = (mean >= mean.max() - CLOSE).nonzero()[:, 0]
    return Best(
        STEPS[at],
        STEPS[int(close[0])],
        STEPS[int(close[-1])],
        curves[:, at].tolist(),
        curves[:, STEPS.index(default)].tolist(),
    )


def _hits(maps: Tensor, batch: Batch) -> Tensor:
    """Return hits ``(2, STEPS)``: of one box at IoU 0.5, and the mean over IoUs of all boxes."""
    large = F.interpolate(maps[:, None].float(), size=(SIDE, SIDE), mode="bilinear")[:, 0]
    count = partial(
        count_box_hits_half_open,
        large,
        [sample.boxes for sample in batch.samples],
        image_sizes=[sample.size for sample in batch.samples],
        thresholds=STEPS,
    )
    every = count(ious=IOUS, all_components=True).double().mean(0)
    return torch.stack([count(ious=(0.5,))[0].double(), every])


def _table(found: Mapping[str, Best], kinds: Sequence[str]) -> str:
    head = ["method", "best", "within a point", *kinds, "default"]
    head += [f"{kind} at the default" for kind in kinds]
    lines = [
        [
            name,
            f"{one.threshold:.2f}",
            f"{one.low:.2f} to {one.high:.2f}",
            *(f"{100 * value:.1f}" for value in one.accuracies),
            f"{METHODS[name].threshold:.2f}",
            *(f"{100 * value:.1f}" for value in one.default),
        ]
        for name, one in found.items()
    ]
    return table(head, lines)
