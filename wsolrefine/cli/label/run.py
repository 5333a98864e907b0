"""One run of ``label``: a new one makes a plan, a later one goes on with what is missing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from wsolrefine import Localizer, __version__
from wsolrefine._shards import Shard
from wsolrefine.cli.console import output_console, stop
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.hashes import localizer_hash
from wsolrefine.cli.images import quiet
from wsolrefine.cli.label.classes import chosen_classes
from wsolrefine.cli.label.folder import fail, locked, open_store, print_totals
from wsolrefine.cli.label.work import Resources, write_missing
from wsolrefine.scale.parts import done
from wsolrefine.scale.places import absolute
from wsolrefine.scale.plan import write_plan
from wsolrefine.scale.record import Record, differences, missing, read_record, write_record
from wsolrefine.scale.sources import find
from wsolrefine.scale.store import Store


def run(
    out: str,
    settings: dict[str, Any],
    shard: Shard | None,
    load: Callable[[], Localizer],
    resources: Resources,
) -> None:
    """Label what is left to do, and print what is there then.

    Args:
        out: folder or address of the results.
        settings: what determines the rows; an earlier run in the folder must have the same.
        shard: the share of the source to do; None: all.
        load: returns the localizer; called only if there is something to do.
        resources: what to use.

    """
    store = open_store(out)
    stopped = False
    try:
        with locked(store), termination_as_interrupt(), quiet():
            try:
                _label(store, settings, shard, load, resources)
            except KeyboardInterrupt:
                stopped = True
            print_totals(store)
    except (OSError, ValueError) as error:
        fail(error)
    if stopped:
        output_console().print("Stopped. Run the same command again to continue.")
        raise typer.Exit(130)


def _label(
    store: Store,
    settings: dict[str, Any],
    shard: Shard | None,
    load: Callable[[], Localizer],
    resources: Resources,
) -> None:
    for name in ("source", "root"):
        if settings[name] is not None:
            settings[name] = absolute(settings[name])
    record = _earlier(store, settings)
    if record is not None and not missing(store, record):
        return
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
    if left := missing(store, record):  # an empty share has no parts
        write_missing(store, record, left, localizer, classes, resources)


def _earlier(store: Store, settings: dict[str, Any]) -> Record | None:
    """Return the run that is to be continued; None: a new one begins. Stop if it is another one."""
    record = read_record(store)
    if record is not None and record.settings != settings:
        if done(store):
            stop(
                f"--out: expected the settings of the labels in {store.path()}, got others "
                f"({differences(record.settings, settings)}); choose another folder"
            )
        return None  # there is nothing yet that it could be of
    return record
