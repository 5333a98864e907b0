"""One run of ``label``: what is left of the plan goes to Ray, and comes back as parts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from wsolrefine import Localizer, __version__
from wsolrefine._shards import Shard
from wsolrefine.cli.console import printable, progress_bar, stop
from wsolrefine.cli.files import FolderInUse, lock_folder, system_error, termination_as_interrupt
from wsolrefine.cli.hashes import localizer_hash
from wsolrefine.cli.images import quiet
from wsolrefine.cli.options import check_out
from wsolrefine.cli.refine.classes import parse_classes
from wsolrefine.models import is_own_code
from wsolrefine.scale.engine import Job, cluster, processes
from wsolrefine.scale.engine import run as work
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.parts import LABELS, done, write_parts
from wsolrefine.scale.plan import Plan, write_plan
from wsolrefine.scale.record import (
    RECORD,
    Record,
    differences,
    missing,
    read_record,
    totals,
    write_record,
)
from wsolrefine.scale.rows import Rows
from wsolrefine.scale.sources import absolute, find
from wsolrefine.scale.store import Store

BATCHES = 8
"""Batches in a task: as much as a worker is given at once."""

SOURCE = "source"
"""The value of ``--classes`` for the classes that the source names."""


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
        classes = _classes(localizer, record)
        write_record(store, record)
    elif record.model != hashed:
        stop(
            f"--out: expected the model of the labels in {store.path()}, got one with other "
            "weights, names of classes or preprocessing; restore it, or choose another folder"
        )
    else:
        classes = _classes(localizer, record)
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


def _classes(localizer: Localizer, record: Record) -> Classes:
    """Return which classes are mapped, or stop if the model has not all of them."""
    names, number = localizer.class_names, localizer.num_classes or 0
    index = partial(class_index, names=names, number=number)
    text, labels = record.settings["classes"], record.facts.labels
    if text == SOURCE or (text is None and labels is not None):
        if labels is None and record.facts.kind == "files":
            stop("--classes: expected a source that names classes for source, got one without")
        try:
            for label in labels or ():
                index(label)
        except ValueError as error:
            stop(f"--{error}; or choose --classes top1")
        return Classes(None, index)
    if text is None and record.facts.kind != "files":  # nobody has looked inside
        return Classes(None, index, needed=False)
    try:
        return Classes(parse_classes("top1" if text is None else text, names, number), index)
    except ValueError as error:
        stop(f"--{error}")


def class_index(label: str, names: list[str] | None, number: int) -> int:
    """Return the index of the class that a source names.

    Raises:
        ValueError: the model has no such class.

    Example:
        >>> class_index("index:1", None, 2), class_index("crane", ["kite", "crane"], 2)
        (1, 1)

    """
    found = parse_classes(label, names, number)
    if isinstance(found, int) or len(found) > 1:
        raise ValueError(f"classes: expected the name of one class, got {label!r:.80}")
    return found[0]


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


def open_store(address: str) -> Store:
    """Return the folder of the results, or stop."""
    try:
        store = Store(address)
    except (ImportError, ValueError) as error:
        stop(f"--out: expected a folder or an address, got {address} ({error})")
    if store.folder is not None:
        check_out(store.folder)
    return store


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Lock a folder against other runs, and remove what killed ones have left.

    There are no locks at other addresses: two runs there would do the same work twice.
    """
    with contextlib.ExitStack() as stack:
        if store.folder is not None:
            store.folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(lock_folder(store.folder))
            except FolderInUse:
                stop(f"another run is writing to {store.folder}: wait, or choose another --out", 1)
        store.remove_temporary("", LABELS)
        yield


def fail(error: OSError | ValueError) -> NoReturn:
    """Stop because of a file or a source that is not as expected."""
    code = 2 if str(error).startswith("SOURCE:") else 1
    stop(system_error(error) if isinstance(error, OSError) else error, code)


def print_totals(store: Store) -> None:
    """Print what is in a folder of labels."""
    found = totals(store)
    console = Console(highlight=False, soft_wrap=True)
    shown = f"{found.images:,} images, {found.rows:,} rows, {found.parts:,} parts"
    if found.errors:
        shown += f"; {found.errors:,} images have an error (column error)"
    console.print(f"{shown}.")
    if store.exists(RECORD):
        console.print(Text.assemble("Results: ", printable(store.path(LABELS), console)))
