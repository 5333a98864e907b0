"""Threads that read and write while the model computes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import torch


def threads(number: int | None) -> ThreadPoolExecutor:
    """Return a pool of threads.

    Args:
        number: how many; None: one for each core, at most 4.

    """
    # One torch thread in each thread: by default, each starts as many as there are cores.
    return ThreadPoolExecutor(
        number or min(4, os.cpu_count() or 1), initializer=torch.set_num_threads, initargs=(1,)
    )
