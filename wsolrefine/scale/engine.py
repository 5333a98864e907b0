"""Ray Data at work: tasks in, rows out, in processes of this machine or of a cluster."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wsolrefine.localization import Localizer
from wsolrefine.scale.cluster import Processes
from wsolrefine.scale.images import Batch, read_task
from wsolrefine.scale.items import Task
from wsolrefine.scale.localizing import Classes, localize_batch
from wsolrefine.scale.parts import BatchRows
from wsolrefine.scale.rows import RowFormat

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


RETRIES = 5
"""How often a task is done again whose process was lost. Then the run stops: something in the task
may be what ends them, such as an image that crashes its decoder."""


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
    rows: RowFormat


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
    from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy, from_arrow_refs

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, too
    # One block a task: blocks are what Ray hands out.
    handed = [ray.put(_packed([task])) for task in tasks]
    if not handed:
        return
    # In a list, or Ray would put the localizer itself into its place, and warn of restarts.
    model = [ray.put(localizer)]
    one_block: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": 1}
    data = from_arrow_refs(handed)
    if use.devices:
        pool = one_block | {"compute": TaskPoolStrategy(use.workers), "num_cpus": 1}
        data = data.map_batches(_read, fn_args=(job, localizer.preprocess), **pool)
        data = _with_workers(
            data,
            Localizing,
            fn_constructor_args=(model, job, device),
            compute=ActorPoolStrategy(size=use.devices),
            num_gpus=1,
            **one_block,
        )
        data = data.map_batches(_finish, fn_args=(job,), **pool)
    else:
        data = _with_workers(
            data,
            Labeling,
            fn_constructor_args=(model, job),
            compute=ActorPoolStrategy(size=min(use.workers, len(handed))),
            num_cpus=1,
            **one_block,
        )
    for found in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        for row in found.to_pylist():
            yield pickle.loads(row["payload"])


def _with_workers(data: Any, worker: type, **options: Any) -> Any:
    """Return the data after workers that are started again when lost, but not without end."""
    with warnings.catch_warnings():
        # Ray 2.60 to 2.63 warn of arguments without a name, and name no other way to set this one.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
        return data.map_batches(worker, max_task_retries=RETRIES, **options)


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
