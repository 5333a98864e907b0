"""Ray Data at work: tasks in, rows out, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wsolrefine.localization import Localizer
from wsolrefine.scale.images import Batch, read_task
from wsolrefine.scale.items import Task
from wsolrefine.scale.localizing import Classes, localize_batch
from wsolrefine.scale.parts import Rows as BatchRows
from wsolrefine.scale.rows import Rows

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray sends statistics of its usage to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else it warns of what Ray Data itself does
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it does in later versions, else it warns
}
"""Settings of Ray, unless the user has set them."""


@dataclass(frozen=True)
class Job:
    """What every worker does, in the same way.

    Attributes:
        kind: what the items of the plan are, see :class:`wsolrefine.scale.plan.Facts`.
        batch: images that the model sees at once.
        classes: which classes are mapped.
        rows: how images become rows.

    """

    kind: str
    batch: int
    classes: Classes
    rows: Rows


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
    with contextlib.chdir(Path.cwd().anchor), _without_messages():
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


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


def run(
    tasks: Iterable[Task], localizer: Localizer, job: Job, use: Processes, device: str = "cuda"
) -> Iterator[BatchRows]:
    """Yield the rows of all tasks, batch by batch, in any order.

    Without GPUs each worker does all of a task. With GPUs some read ahead, some hold the model, and
    some write rows; Ray holds back the first when the others do not follow.

    Args:
        tasks: what to do; it is handed to Ray at once, and does not stay in this process.
        localizer: on the CPU; it is sent to those that need it.
        job: what to do with a task.
        use: the processes.
        device: what a worker with a GPU calls it.

    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_arrow_refs

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # One block a task: blocks are what Ray hands out.
    handed = [ray.put(_packed([task])) for task in tasks]
    if not handed:
        return
    # In a list, or Ray would put the localizer itself into its place, and warn of restarts.
    model, arrow = [ray.put(localizer)], {"batch_format": "pyarrow"}
    data = from_arrow_refs(handed)
    if use.devices:
        data = data.map_batches(
            _read, batch_size=1, fn_args=(job, localizer.preprocess), num_cpus=1, **arrow
        ).map_batches(
            Localizing,
            batch_size=1,
            fn_constructor_args=(model, job, device),
            compute=ActorPoolStrategy(size=use.devices),
            num_gpus=1,
            **arrow,
        )
        data = data.map_batches(_finish, batch_size=1, fn_args=(job,), num_cpus=1, **arrow)
    else:
        data = data.map_batches(
            Labeling,
            batch_size=1,
            fn_constructor_args=(model, job),
            compute=ActorPoolStrategy(size=min(use.workers, len(handed))),
            num_cpus=1,
            **arrow,
        )
    for found in data.iter_batches(batch_size=None, **arrow):
        for row in found.to_pylist():
            yield pickle.loads(row["payload"])


class Labeling:
    """A worker that does all of a task on its CPU."""

    def __init__(self, model: list[Any], job: Job) -> None:
        import torch

        torch.set_num_threads(1)  # each core has a worker of its own
        self._localizer, self._job = _local(model), job

    def __call__(self, table: Any) -> Iterator[Any]:
        """Yield the rows of the batches of a task."""
        job, preprocess = self._job, self._localizer.preprocess
        for task in _unpacked(table):
            for batch in read_task(task, job.kind, preprocess, job.batch):
                yield _packed([_rows(localize_batch(self._localizer, batch, job.classes), job)])


class Localizing:
    """A worker that holds the model on its GPU."""

    def __init__(self, model: list[Any], job: Job, device: str) -> None:
        self._localizer, self._job = _local(model).to(device), job

    def __call__(self, table: Any) -> Any:
        """Return batches with their maps."""
        classes = self._job.classes
        return _packed(localize_batch(self._localizer, b, classes) for b in _unpacked(table))


def _read(table: Any, job: Job, preprocess: Callable[[Image], Tensor] | None) -> Iterator[Any]:
    for task in _unpacked(table):
        for batch in read_task(task, job.kind, preprocess, job.batch):
            yield _packed([batch])


def _finish(table: Any, job: Job) -> Any:
    return _packed(_rows(batch, job) for batch in _unpacked(table))


def _rows(batch: Batch, job: Job) -> BatchRows:
    errors = sum(picture.error is not None for picture in batch.pictures)
    table = job.rows.table(batch)
    return BatchRows(batch.part, batch.number, batch.batches, len(batch.pictures), errors, table)


def _packed(values: Iterable[Any]) -> Any:
    """Return an Arrow table with a row for each value."""
    import pyarrow as pa

    content = [pickle.dumps(value, pickle.HIGHEST_PROTOCOL) for value in values]
    return pa.table({"payload": pa.array(content, pa.large_binary())})


def _unpacked(table: Any) -> Iterator[Any]:
    for row in table.column("payload"):
        yield pickle.loads(row.as_buffer())


def _local(model: list[Any]) -> Localizer:
    """Return the localizer that a reference leads to, also in a worker that is started again."""
    import ray

    found: Localizer = ray.get(model[0])
    return found
