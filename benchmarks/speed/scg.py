"""scg next to the bare matrix products that its result needs.

Inputs: random features and a smooth random CAM.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import minmax, scg, scg_released

SHAPES = [(32, 512, 14), (8, 512, 28), (2, 512, 56), (8, 1024, 28), (1, 512, 112)]
MATRIX_LIMIT = 2**28  # bytes of the N x N matrices up to which formulations that need them are run


def inputs(batch: int, channels: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, 1, 5, 5, device=device)
    cam = minmax(F.interpolate(coarse, size=(side, side), mode="bicubic")[:, 0])
    return cam, torch.randn(batch, channels, side, side, device=device)


def floor_closed(features: Tensor) -> None:
    """Normalize, then the four products of the closed form, nothing else."""
    unit = F.normalize(features.flatten(2), dim=1)
    gram = unit @ unit.mT
    factor = gram @ unit
    _ = unit.mT @ unit
    _ = factor.mT @ unit


def floor_direct(features: Tensor) -> None:
    """Normalize, then the two products of the plain form, nothing else."""
    unit = F.normalize(features.flatten(2), dim=1)
    cosine = unit.mT @ unit
    _ = cosine @ cosine


def bench_scg(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds, except for the ratios (scg / floor, released / scg) and the memory.
    print("  B     C    H |      scg all rows    floor  ratio |  released  ratio | extra MB")
    shapes = SHAPES if least_runs else SHAPES[:1]
    return [_row(*shape, least_runs, device) for shape in shapes]


def _row(batch: int, channels: int, side: int, least_runs: int, device: str) -> dict[str, object]:
    cam, features = inputs(batch, channels, side, device)
    calls: dict[str, Callable[[], object]] = {
        "scg": partial(scg, cam, features),
        # With both thresholds at 0.5 every pixel is object or background: none is left out.
        "all rows": partial(scg, cam, features, foreground=0.5, background=0.5),
        "closed": partial(floor_closed, features),
    }
    if batch * side**4 * 4 <= MATRIX_LIMIT:
        calls["direct"] = partial(floor_direct, features)
        calls["released"] = partial(scg_released, cam, features)
    with torch.inference_mode():
        times = time_in_turn(calls, least_runs, device)
    ms = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    floor = min((name for name in ("closed", "direct") if name in ms), key=ms.__getitem__)
    ratio = median_ratio(times["scg"], times[floor])
    memory = extra_memory(batch, channels, side, device)
    row: dict[str, object] = {
        "shape": [batch, channels, side, side],
        "milliseconds": ms,
        "floor": floor,
        "scg / floor": ratio,
        "runs": len(times["scg"]),
        "extra MB": memory,
    }
    released = f"{'N x N':>9} {'-':>6}"
    if "released" in ms:
        slower = median_ratio(times["released"], times["scg"])
        row["released / scg"] = slower
        released = f"{ms['released']:9.1f} {slower:6.1f}"
    print(
        f"{batch:>3} {channels:>5} {side:>4} | {ms['scg']:8.1f} {ms['all rows']:8.1f} "
        f"{ms[floor]:8.1f} {ratio:6.2f} | {released} | {memory:8.0f}",
        flush=True,
    )
    return row


def extra_memory(batch: int, channels: int, side: int, device: str) -> float:
    """Return the peak memory, in MB, that scg takes beyond its inputs."""
    if device == "cuda":
        cam, features = inputs(batch, channels, side, device)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        scg(cam, features)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    # In a process of its own, so that it cannot reuse memory freed by an earlier case.
    call = f"_child_memory({batch}, {channels}, {side})"
    code = f"from benchmarks.speed.scg import _child_memory; {call}"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return float(printed.split()[-1])


def _child_memory(batch: int, channels: int, side: int) -> None:
    cam, features = inputs(batch, channels, side, "cpu")
    scg(cam[:1, :8, :8], features[:1, :, :8, :8])  # load the kernels before counting
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    with torch.inference_mode():
        scg(cam, features)
    print((_resident("VmHWM") - before) / 1e6)


def _resident(field: str) -> int:
    """Return VmRSS (resident now) or VmHWM (its peak) in bytes, from Linux's accounting."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return 1024 * int(found[1])
