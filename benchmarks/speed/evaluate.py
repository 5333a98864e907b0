"""Counting boxes over 1000 thresholds against the plain loop over them, same counts.

Inputs: smooth random maps of 224 x 224 pixels, as CAMs enlarged from 7 x 7, 14 x 14 and 28 x 28
cells are, and two true boxes each.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import median_ratio, time_in_turn
from tests.references.box_accuracy import count_hits
from wsolrefine import minmax
from wsolrefine.metrics import _contours, count_box_hits, thresholds_of

MAPS = 4
IOUS = (0.3, 0.5, 0.7)


def inputs(cells: int) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    coarse = torch.rand(MAPS, 1, cells, cells, dtype=torch.float64)
    maps = minmax(F.interpolate(coarse, size=(224, 224), mode="bicubic")[:, 0])
    corners = torch.randint(0, 112, (MAPS, 2, 2))
    sides = torch.randint(28, 112, (MAPS, 2, 2))
    return maps, list(torch.cat([corners, corners + sides], 2).double())


def sweep(compiled: bool, maps: Tensor, boxes: list[Tensor], all_contours: bool) -> Tensor:
    with mock.patch.object(_contours, "COMPILED", compiled):
        return count_box_hits(maps, boxes, ious=IOUS, all_contours=all_contours)


def bench_evaluate(least_runs: int, device: str) -> None:
    if device != "cpu":
        print("evaluate: the protocol is counted on the CPU")
    print("milliseconds a map        |   loop   OpenCV  ratio   compiled  ratio")
    for cells in (7, 14, 28):
        maps, boxes = inputs(cells)
        for all_contours, name in ((False, "MaxBoxAcc"), (True, "MaxBoxAccV2")):
            calls: dict[str, Callable[[], object]] = {
                "loop": partial(
                    count_hits, maps.numpy(), boxes, thresholds_of(0.001), IOUS, all_contours
                ),
                "OpenCV": partial(sweep, False, maps, boxes, all_contours),
            }
            if _contours.COMPILED:
                calls["compiled"] = partial(sweep, True, maps, boxes, all_contours)
            plain = torch.as_tensor(calls["loop"]())
            for fast in [*calls][1:]:
                assert torch.equal(torch.as_tensor(calls[fast]()), plain), f"{fast}: other counts"
            times = time_in_turn(calls, least_runs, "cpu")
            ms = {key: 1e3 * statistics.median(values) / MAPS for key, values in times.items()}
            shown = f"{name:>11}, {cells:>2} x {cells:<2} cells | {ms['loop']:6.1f}"
            for fast in [*calls][1:]:
                ratio = median_ratio(times["loop"], times[fast])
                shown += f" {ms[fast]:8.2f} {ratio:6.1f}  "
            print(shown if _contours.COMPILED else shown + "   numba is not installed", flush=True)
