"""gppl next to gppl_released, whose result may be larger than the CAM.

Inputs: smooth random CAMs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import gppl, gppl_released

# Images, side of the CAM, side of the result of gppl_released, which is 256 by default.
CASES = [(32, 28, 28), (32, 28, 256), (32, 256, 256)]


def inputs(batch: int, side: int, device: str) -> Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(batch, 1, 5, 5, device=device)
    return F.interpolate(coarse, size=(side, side), mode="bicubic")[:, 0].relu()


def bench_gppl(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds per image, except for the ratio (gppl_released / gppl).
    print("gppl  B    H size |     gppl released  ratio")
    return [_row(*case, least_runs, device) for case in (CASES if least_runs else CASES[:1])]


def _row(batch: int, side: int, size: int, least_runs: int, device: str) -> dict[str, object]:
    cam = inputs(batch, side, device)
    calls: dict[str, Callable[[], object]] = {
        "gppl": partial(gppl, cam),
        "gppl_released": partial(gppl_released, cam, size=size),
    }
    with torch.inference_mode():
        times = time_in_turn(calls, least_runs, device)
    ms = {name: 1e3 * statistics.median(values) / batch for name, values in times.items()}
    ratio = median_ratio(times["gppl_released"], times["gppl"])
    print(
        f"{batch:>7} {side:>4} {size:>4} | {ms['gppl']:8.3f} {ms['gppl_released']:8.3f} "
        f"{ratio:6.1f}",
        flush=True,
    )
    return {
        "shape": [batch, side, side],
        "size": size,
        "milliseconds per image": ms,
        "gppl_released / gppl": ratio,
        "runs": len(times["gppl"]),
    }
