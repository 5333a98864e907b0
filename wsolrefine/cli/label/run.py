"""One run of ``label``: what is left of the plan goes to Ray, and comes back as parts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from wsolrefine import Localizer, __version__
from wsolrefine._shards import Shard
from wsolrefine.cli.console import progress_bar, stop
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.hashes import localizer_hash
from wsolrefine.cli.images import quiet
from wsolrefine.cli.label.classes import chosen_classes
from wsolrefine.cli.label.folder import fail, locked, open_store, print_totals
from wsolrefine.models import is_own_code
from wsolrefine.scale.engine import Job, cluster, processes
from wsolrefine.scale.engine import run as work
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.parts import done, write_parts
from wsolrefine.scale.plan import Plan, write_plan
from wsolrefine.scale.record import (
    Record,
    differences,
    missing,
    read_record,
    write_record,
)
from wsolrefine.scale.rows import Rows
from wsolrefine.scale.sources import absolute, find
from wsolrefine.scale.store import Store

BATCHES = 8
"""Batches in a task: as much as a worker is given at once."""


def run(
    address_of_out: str,
    settings: dict[str, Any],
    shard: Shard | None,
    load: Callable[[], Localizer],
    *,
    devices: int | None,
    workers: int | None,
    address: str | None,
) -> None:
    """Label what is left to do, and print what is there then.

    Args:
        address_of_out: folder or address of the results.
        settings: what determines the rows; an earlier run in the folder must have the same.
        shard: the share of the source to do; None: all.
        load: returns the localizer; called only if there is something to do.
        devices: GPUs; None: all.
        workers: processes on CPUs; None: one for each core.
        address: of a cluster; None: this machine.

    """
    store = open_store(address_of_out)
    try:
        with locked(store), termination_as_interrupt(), quiet():
            try:
                code = _label(store, settings, shard, load, (devices, workers, address))
            except KeyboardInterrupt:
                code = 130
            print_totals(store)
    except (OSError, ValueError) as error:
        fail(error)
    if code == 130:
        typer.echo("Stopped. Run the same command again to continue.")
    if code:
        raise typer.Exit(code)


def _label(
    store: Store,
    settings: dict[str, Any],
    shard: Shard | None,
    load: Callable[[], Localizer],
    options: tuple[int | None, int | None, str | None],
) -> int:
    for name in ("source", "root"):
        if settings[name] is not None:
            settings[name] = absolute(settings[name])
    record = read_record(store)
    if record is not None and not done(store) and record.settings != settings:
        record = None  # there is nothing yet that it could be of
    if record is not None:
        if changes := differences(record.settings, settings):
            stop(
                f"--out: expected the settings of the labels in {store.path()}, got others "
                f"({changes}); choose another folder"
            )
        if not missing(store, record):
            return 0
    localizer = load()
    hashed = localizer_hash(localizer)
    if record is None:
        source = find(settings["source"], settings["root"])
        facts = write_plan(store, source, settings["part_size"], shard)
        record = Record(settings, hashed, facts, __version__)
        classes = chosen_classes(localizer, record)
        write_record(store, record)
    elif record.model != hashed:
        stop(
            f"--out: expected the model of the labels in {store.path()}, got one with other "
            "weights, names of classes or preprocessing; restore it, or choose another folder"
        )
    else:
        classes = chosen_classes(localizer, record)
    _send_own_code(settings.get("model"))
    return _work(store, record, localizer, classes, options)


def _work(
    store: Store,
    record: Record,
    localizer: Localizer,
    classes: Classes,
    options: tuple[int | None, int | None, str | None],
) -> int:
    settings, facts = record.settings, record.facts
    devices, workers, address = options
    rows = Rows(
        localizer.threshold,
        settings["parts"],
        localizer.regions,
        settings["maps"],
        facts.numbered,
        localizer.class_names,
    )
    job = Job(facts.kind, settings["batch_size"], classes, rows)
    left = missing(store, record)
    with contextlib.ExitStack() as stack:
        plan = stack.enter_context(Plan(store))
        stack.enter_context(cluster(address, workers))
        try:
            use = processes(devices, workers)
        except ValueError as error:
            stop(f"--{error}")
        tasks = plan.tasks(left, facts.kind, job.batch, BATCHES)
        size = settings["part_size"] if facts.kind == "files" else 1
        whole = sum(min(size, facts.items - number * size) for number in left)
        advance = stack.enter_context(progress_bar("labeling", whole))
        try:
            for part in write_parts(store, work(tasks, localizer, job, use)):
                advance(part.images if facts.kind == "files" else 1)
        except (OSError, ValueError):
            raise
        except Exception as error:  # of Ray, or of the model, which may be the user's code
            stop(_reason(error), 1)
    return 0


def _send_own_code(model: str | None) -> None:
    """Let Ray send the module of the user's own model: workers do not have the working folder."""
    if model is None or not is_own_code(model):
        return
    import ray

    package = sys.modules.get(model.partition(":")[0].partition(".")[0])
    place = getattr(package, "__file__", None) or next(iter(getattr(package, "__path__", ())), None)
    if package is not None and place is not None and Path.cwd() in Path(place).resolve().parents:
        ray.cloudpickle.register_pickle_by_value(package)


def _reason(error: BaseException) -> str:
    """Return the last line of an error: of one in a worker, Ray puts the whole traceback first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
