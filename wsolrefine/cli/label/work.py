"""The part of ``label`` that Ray does: parts that are missing are computed and written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from wsolrefine import Localizer
from wsolrefine.cli.console import progress_bar, stop
from wsolrefine.models import is_own_code
from wsolrefine.scale.cluster import cluster, processes
from wsolrefine.scale.engine import Job
from wsolrefine.scale.engine import run as work
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.parts import write_parts
from wsolrefine.scale.plan import Facts, Plan, batches_in_task
from wsolrefine.scale.record import Record
from wsolrefine.scale.rows import RowFormat
from wsolrefine.scale.store import Store

RETRIED = "Failed to apply UDF transform after"
"""What Ray adds to an error: how often it has tried, and how to try more often."""
WRAPPED = "The above exception was the direct cause of the following exception:"
"""What Python writes between an error and the one that Ray raises from it."""


class Resources(NamedTuple):
    """What a run uses: the options of these names."""

    devices: int | None
    workers: int | None
    address: str | None


def write_missing(
    store: Store,
    record: Record,
    missing: Sequence[int],
    localizer: Localizer,
    classes: Classes,
    resources: Resources,
) -> None:
    """Compute and write parts, or stop.

    Args:
        store: the folder of the results.
        record: what it is.
        missing: numbers of the parts.
        localizer: on the CPU.
        classes: which classes are mapped.
        resources: what to use.

    Raises:
        OSError: a part cannot be written, or the plan cannot be read.

    """
    from ray.exceptions import RayError

    job = job_of(record, localizer, classes)
    _send_own_code(record.settings.get("model"))
    with ExitStack() as stack:
        plan = stack.enter_context(Plan(store))
        try:
            stack.enter_context(cluster(resources.address, resources.workers))
        except Exception as error:  # whatever Ray raises
            stop(f"Ray cannot be started or reached: {_reason(error)}", 1)
        try:
            use = processes(resources.devices, resources.workers)
        except ValueError as error:
            stop(f"--{error}")
        counts = sizes(record.facts, record.settings["part_size"], missing)
        advance = stack.enter_context(progress_bar("labeling", sum(counts.values())))
        workers = max(use.devices, use.workers)
        batches = batches_in_task(sum(counts.values()), job.batch, workers)
        tasks = plan.tasks(missing, job.kind, job.batch, batches)
        try:
            for part in write_parts(store, work(tasks, localizer, job, use)):
                advance(counts[part.number])
        except RayError as error:  # an error in a worker is also of the kind of its cause
            stop(_reason(error), 1)
        except (OSError, ValueError):
            raise
        except Exception as error:  # of Ray Data, in this process
            stop(_reason(error), 1)


def job_of(record: Record, localizer: Localizer, classes: Classes) -> Job:
    """Return what every worker does."""
    settings, facts = record.settings, record.facts
    rows = RowFormat(
        localizer.threshold,
        settings["parts"],
        localizer.regions,
        settings["maps"],
        facts.numbered,
        localizer.class_names,
    )
    return Job(facts.kind, settings["batch_size"], classes, rows)


def sizes(facts: Facts, size: int, numbers: Sequence[int]) -> dict[int, int]:
    """Return how much each part is in the bar of progress: its images, or 1 for a container."""
    if facts.kind != "files":
        return dict.fromkeys(numbers, 1)
    return {number: min(size, facts.items - number * size) for number in numbers}


def _send_own_code(model: str | None) -> None:
    """Let Ray send the module of the user's own model: workers do not have the working folder."""
    if model is None or not is_own_code(model):
        return
    import ray

    package = sys.modules.get(model.partition(":")[0].partition(".")[0])
    place: Any = getattr(package, "__file__", None)
    place = place or next(iter(getattr(package, "__path__", ())), None)
    if package is not None and place is not None and Path.cwd() in Path(place).resolve().parents:
        ray.cloudpickle.register_pickle_by_value(package)


def _reason(error: BaseException) -> str:
    r"""Return an error in one line: of one in a worker, Ray has the whole traceback, and its own.

    Example:
        >>> own = "ray.exceptions.UserCodeException: UDF failed"
        >>> _reason(RuntimeError(f"Traceback\nValueError: bad\n\n{WRAPPED}\n\n{own}"))
        'ValueError: bad'
        >>> _reason(RuntimeError(f"Traceback\nValueError: bad\n{RETRIED} 1/1 attempts\nTo change"))
        'ValueError: bad'

    """
    text = str(error).partition(f"\n{RETRIED}")[0]
    head, wrapped, own = text.rpartition(WRAPPED)
    if wrapped and "UserCodeException" in own:
        text = head
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
