"""Honest ratios: everything is called in turn, again and again, within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def time_in_turn(
    calls: dict[str, Callable[[], object]], least_runs: int, device: str
) -> dict[str, list[float]]:
    """Call all in turn, again and again for at least 2 seconds; return each one's seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    rounds = 0
    while rounds <= least_runs or time.perf_counter() - begin < 2:
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
