"""Time the library against the bare matrix products that its result needs, in one run.

    python -m benchmarks.speed --ops scg

Every figure is the median of alternating runs, so that a drift of the machine's speed meets all
columns alike; read the ratios, not the milliseconds. Inputs: random features, a smooth random CAM.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine import minmax, scg, scg_released

SHAPES = [(32, 512, 14), (8, 512, 28), (2, 512, 56), (8, 1024, 28), (1, 512, 112)]
MATRIX_LIMIT = 2**31  # bytes of one N x N matrix batch that the released formulation may allocate


def inputs(batch: int, channels: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, 1, 5, 5, device=device)
    cam = minmax(F.interpolate(coarse, size=(side, side), mode="bicubic")[:, 0])
    return cam, torch.randn(batch, channels, side, side, device=device)


def floor_closed(features: Tensor) -> None:
    """Normalise, then the four products of the closed form, nothing else."""
    unit = F.normalize(features.flatten(2), dim=1)
    gram = unit @ unit.mT
    factor = gram @ unit
    _ = unit.mT @ unit
    _ = factor.mT @ unit


def floor_direct(features: Tensor) -> None:
    """Normalise, then the two products of the plain form, nothing else."""
    unit = F.normalize(features.flatten(2), dim=1)
    cosine = unit.mT @ unit
    _ = cosine @ cosine


def median_ms(calls: dict[str, Callable[[], object]], runs: int, device: str) -> dict[str, float]:
    """Call all in turn, ``runs`` times after one warm-up; return each one's median."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            if run:
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def bench_scg(runs: int, device: str) -> None:
    # Milliseconds, but for the ratios (scg / floor, released / scg) and the memory.
    print("  B     C    H |      scg all rows    floor  ratio |  released  ratio | extra MB")
    for batch, channels, side in SHAPES:
        cam, features = inputs(batch, channels, side, device)
        # With both thresholds at 0.5 every pixel is object or background: no row is left out.
        calls: dict[str, Callable[[], object]] = {
            "scg": lambda cam=cam, features=features: scg(cam, features),
            "all rows": lambda cam=cam, features=features: scg(
                cam, features, foreground=0.5, background=0.5
            ),
        }
        calls["closed"] = lambda features=features: floor_closed(features)
        calls["direct"] = lambda features=features: floor_direct(features)
        if batch * side**4 * 4 > MATRIX_LIMIT // 8:  # the plain product would take a minute
            del calls["direct"]
        if batch * side**4 * 4 <= MATRIX_LIMIT // 8:
            calls["released"] = lambda cam=cam, features=features: scg_released(cam, features)
        with torch.inference_mode():
            ms = median_ms(calls, runs, device)
        floor = min(ms["closed"], ms.get("direct", float("inf")))
        released = (
            f"{ms['released']:9.1f} {ms['released'] / ms['scg']:6.1f}"
            if "released" in ms
            else f"{'N x N':>9} {'-':>6}"
        )
        extra = extra_memory(batch, channels, side, device)
        print(
            f"{batch:>3} {channels:>5} {side:>4} | {ms['scg']:8.1f} {ms['all rows']:8.1f} "
            f"{floor:8.1f} {ms['scg'] / floor:6.2f} | {released} | {extra:8.0f}",
            flush=True,
        )


def extra_memory(batch: int, channels: int, side: int, device: str) -> float:
    """Return the peak memory, in MB, that scg takes beyond its inputs."""
    if device == "cuda":
        cam, features = inputs(batch, channels, side, device)
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        scg(cam, features)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    # In a process of its own, so that no memory freed by an earlier case is taken again.
    code = f"from benchmarks.speed import _child_memory; _child_memory({batch}, {channels}, {side})"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return float(printed.split()[-1])


def _child_memory(batch: int, channels: int, side: int) -> None:
    cam, features = inputs(batch, channels, side, "cpu")
    scg(cam[:1, :8, :8], features[:1, :, :8, :8])  # load the kernels before counting
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    with torch.inference_mode():
        scg(cam, features)
    print((_resident("VmHWM") - before) / 1e6)


def _resident(field: str) -> int:
    """Return VmRSS (resident now) or VmHWM (its peak) in bytes, from Linux's accounting."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", status)[1])


OPS = {"scg": bench_scg}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ops", choices=sorted(OPS), nargs="+", default=sorted(OPS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{platform.machine()} CPU, {options.threads} threads"
    print(f"{machine}, torch {torch.__version__}, Python {platform.python_version()}")
    for name in options.ops:
        OPS[name](options.runs, options.device)


if __name__ == "__main__":
    main()
