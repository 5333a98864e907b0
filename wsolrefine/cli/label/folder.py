"""The folder of labels, which ``label``, ``threshold`` and ``merge`` write to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from wsolrefine.cli.console import printable, stop
from wsolrefine.cli.files import FolderInUse, lock_folder, system_error
from wsolrefine.cli.options import check_out
from wsolrefine.scale.parts import LABELS
from wsolrefine.scale.record import RECORD, totals
from wsolrefine.scale.store import Store


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
