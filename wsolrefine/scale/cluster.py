"""Ray itself: started on this machine or reached in a cluster, and what there is to use of it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray sends statistics of its usage to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else it warns of what Ray Data itself does
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it does in later versions, else it warns
}
"""Settings of Ray, unless the user has set them."""


class Processes(NamedTuple):
    """The processes of a run.

    Attributes:
        devices: how many hold the model on a GPU each, and read what others prepare; 0: no GPU.
        workers: how many read, decode and write rows; without GPUs each holds the model, too.

    """

    devices: int
    workers: int


@contextlib.contextmanager
def cluster(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to a cluster of Ray, or start one on this machine and stop it at the end.

    If the program has connected already, that is used, and left as it is.

    Args:
        address: of a running cluster; None: this machine.
        workers: processes on this machine; None: one for each core.

    """
    import ray

    if ray.is_initialized():
        yield
        return
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"address": address}
    if address is None:
        # Without a number Ray takes the cores that a container may use.
        options = {"address": "local", "num_cpus": workers, "include_dashboard": False}
    # Workers search modules in the working folder first, where any file may lie: not in ours.
    with contextlib.chdir(Path.cwd().anchor), _without_messages(), _own_termination():
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def processes(devices: int | None, workers: int | None) -> Processes:
    """Return the processes to use of a cluster that is connected.

    Args:
        devices: GPUs; None: all that there are.
        workers: processes on CPUs; None: one for each core.

    Raises:
        ValueError: there are fewer GPUs.

    """
    import ray

    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    if devices is not None and devices > gpus:
        raise ValueError(f"devices: expected at most {gpus}, the GPUs that Ray sees, got {devices}")
    return Processes(gpus if devices is None else devices, workers or max(1, cpus))


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keep standard error clean of what Ray's core writes there when it starts; errors raise."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@contextlib.contextmanager
def _own_termination() -> Iterator[None]:
    """Keep what this process does on SIGTERM: Ray takes it over, to exit at once with an error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # by Ray, on a SIGTERM while it starts
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, before)
