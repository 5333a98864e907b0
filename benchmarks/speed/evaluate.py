"""Counting boxes over 1000 thresholds next to the plain loop over them, with the same counts.

Inputs: smooth random maps of 224 x 224 pixels, like CAMs resized from 7 x 7, 14 x 14 and 28 x 28
cells, and two true boxes each.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.timing import median_ratio, time_in_turn
from tests.references.box_accuracy import count_hits
from wsolrefine import minmax

# The one private name of the benchmarks: users have no switch between the two ways to count.
from wsolrefine.metrics import _contours, count_box_hits, thresholds_of

MAPS = 4
CELLS = (7, 14, 28)
IOUS = (0.3, 0.5, 0.7)


def inputs(cells: int) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    coarse = torch.rand(MAPS, 1, cells, cells, dtype=torch.float64)
    maps = minmax(F.interpolate(coarse, size=(224, 224), mode="bicubic")[:, 0])
    corners = torch.randint(0, 112, (MAPS, 2, 2))
    sides = torch.randint(28, 112, (MAPS, 2, 2))
    return maps, list(torch.cat([corners, corners + sides], 2).double())


def count(compiled: bool, maps: Tensor, boxes: list[Tensor], all_contours: bool) -> Tensor:
    with mock.patch.object(_contours, "COMPILED", compiled):
        return count_box_hits(maps, boxes, ious=IOUS, all_contours=all_contours)


def bench_evaluate(least_runs: int, device: str) -> list[dict[str, object]]:
    if device != "cpu":
        print("evaluate: boxes are counted on the CPU, whatever the device")
    print("milliseconds per map      |   loop   OpenCV  ratio   compiled  ratio")
    return [
        _row(cells, all_contours, name, least_runs)
        for cells in (CELLS if least_runs else CELLS[:1])
        for all_contours, name in ((False, "MaxBoxAcc"), (True, "MaxBoxAccV2"))
    ]


def _row(cells: int, all_contours: bool, name: str, least_runs: int) -> dict[str, object]:
    maps, boxes = inputs(cells)
    calls: dict[str, Callable[[], object]] = {
        "loop": partial(count_hits, maps.numpy(), boxes, thresholds_of(0.001), IOUS, all_contours),
        "OpenCV": partial(count, False, maps, boxes, all_contours),
    }
    if _contours.COMPILED:
        calls["compiled"] = partial(count, True, maps, boxes, all_contours)
    plain = torch.as_tensor(calls["loop"]())
    for fast in [*calls][1:]:
        assert torch.equal(torch.as_tensor(calls[fast]()), plain), f"{fast}: other counts"
    times = time_in_turn(calls, least_runs, "cpu")
    ms = {key: 1e3 * statistics.median(values) / MAPS for key, values in times.items()}
    ratios = {fast: median_ratio(times["loop"], times[fast]) for fast in [*calls][1:]}
    shown = f"{name:>11}, {cells:>2} x {cells:<2} cells | {ms['loop']:6.1f}"
    for fast, ratio in ratios.items():
        shown += f" {ms[fast]:8.2f} {ratio:6.1f}  "
    print(shown if _contours.COMPILED else shown + "   numba is not installed", flush=True)
    return {
        "metric": name,
        "cells": cells,
        "milliseconds per map": ms,
        "loop / fast": ratios,
        "runs": len(times["loop"]),
    }
