"""The folder of labels, which ``label``, ``threshold`` and ``merge`` write to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

from rich.text import Text

from wsolrefine.cli.console import output_console, printable, stop
from wsolrefine.cli.files import FolderInUse, lock_folder, system_error
from wsolrefine.cli.options import check_out
from wsolrefine.scale.parts import LABELS
from wsolrefine.scale.record import (
    RECORD,
    Record,
    differences,
    read_record,
    totals,
    write_record,
)
from wsolrefine.scale.store import Store


def open_store(address: str) -> Store:
    """Return the folder of the results, or stop."""
    store = _store(address, "--out")
    if store.folder is not None:
        check_out(store.folder)
    return store


def open_labels(address: str) -> tuple[Store, Record]:
    """Return a folder of labels, which is only read, and what it is; or stop if it has none."""
    store = _store(address, "DIR")
    record = read_record(store)
    if record is None:
        stop(f"DIR: expected labels of wsolrefine label, got {store.path()}, which has none")
    return store, record


def _store(address: str, option: str) -> Store:
    try:
        return Store(address)
    except (ImportError, ValueError) as error:
        stop(f"{option}: expected a folder or an address, got {address} ({error})")


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Lock a folder against other runs, and remove what killed ones have left.

    There are no locks at other addresses: two runs there would do the same work twice, and what
    killed runs have left stays there, because it may be of another run.
    """
    if store.folder is None:
        yield
        return
    store.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(store.folder))
        except FolderInUse:
            stop(f"another run is writing to {store.folder}: wait, or choose another --out", 1)
        store.remove_temporary("", LABELS)
        yield


def claim(store: Store, record: Record) -> None:
    """Write what the folder of the results is, or stop if it is something else already."""
    there = read_record(store)
    if there is None:
        write_record(store, record)
    elif changes := differences(_whole(there), _whole(record)):
        stop(f"--out: expected the labels that are there, got others ({changes})")


def _whole(record: Record) -> dict[str, Any]:
    facts = record.facts
    return record.settings | {
        "model": record.model,  # its hash tells more than its name
        "images": facts.items,
        "files of results": facts.parts,
    }


def fail(error: OSError | ValueError) -> NoReturn:
    """Stop because of a file or a source that is not as expected."""
    code = 2 if str(error).startswith("SOURCE:") else 1
    stop(system_error(error) if isinstance(error, OSError) else error, code)


def print_totals(store: Store) -> None:
    """Print what is in a folder of labels."""
    found = totals(store)
    console = output_console(soft_wrap=True)
    shown = f"{found.images:,} images, {found.rows:,} rows, {found.parts:,} parts"
    if found.errors:
        shown += f"; {found.errors:,} images have an error (column error)"
    console.print(f"{shown}.")
    if store.exists(RECORD):
        console.print(Text.assemble("Results: ", printable(store.path(LABELS), console)))
