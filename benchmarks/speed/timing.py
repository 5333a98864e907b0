"""Fair ratios: all calls take turns, again and again, within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

LEAST_SECONDS = {"cpu": 2.0, "cuda": 0.5}


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], least_runs: int, device: str
) -> dict[str, list[float]]:
    """Call all in turn, again and again for at least ``LEAST_SECONDS``; return each one's seconds.

    ``least_runs=0`` calls each twice, to try a benchmark.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    rounds = 0
    least_seconds = LEAST_SECONDS[device] if least_runs else 0.0
    while rounds <= max(least_runs, 1) or time.perf_counter() - begin < least_seconds:
        rounds += 1
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}  # the first was a warm-up


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """Return the median of the ratios of calls made right after each other."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))
