"""Which files a command is writing: so that what a killed run leaves is known from a user's."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from wsolrefine._files import read_json
from wsolrefine.cli.console import stop
from wsolrefine.cli.files import (
    foreign_files,
    foreign_message,
    lock_folder,
    remove_temporary,
    uninterrupted,
)
from wsolrefine.data._lines import stays_below


class Journal:
    """Names of what is being written to a folder and may be there without being listed yet.

    A name is added before its files are written, and the journal ends when the file of the results
    lists them.

    Args:
        out: the folder.
        index: name of the file of the results; another command may write to the folder too.

    """

    def __init__(self, out: Path, index: str) -> None:
        self.path = out / f".{index}.started"

    def is_ours(self) -> bool:
        """Tell whether the file is a journal, or not there; else it is the user's own."""
        if not self.path.is_file():
            return not os.path.lexists(self.path)
        *lines, last = self.path.read_bytes().split(b"\n")  # the last one may be half a line
        quoted = all(len(line) > 1 and line[:1] == line[-1:] == b'"' for line in lines)
        return quoted and last[:1] in (b"", b'"')

    def names(self) -> set[str]:
        """Return the names that an interrupted run has started."""
        if not self.path.is_file():
            return set()
        found = set()
        for line in self.path.read_bytes().split(b"\n")[:-1]:  # the last one may be half a line
            with contextlib.suppress(ValueError, RecursionError):
                name = json.loads(line)
                if isinstance(name, str) and stays_below(name):
                    found.add(name)
        return found

    def add(self, names: Iterable[str]) -> None:
        """Note that the files of these names are written from now on."""
        with self.path.open("a", encoding="ascii") as file:
            file.write("".join(f"{json.dumps(name)}\n" for name in names))

    def clear(self) -> None:
        """End the journal."""
        self.path.unlink(missing_ok=True)


def check_names(out: Path, index: str, names: Iterable[str]) -> set[str]:
    """Stop if a file of these names is there that this command has not written.

    Args:
        out: folder of the results.
        index: name of the JSON file that lists the others under ``files``.
        names: the files that may be written, with that one.

    Returns:
        The files that an earlier run has written.

    """
    known, journal = set(names), Journal(out, index)
    own = known & (_listed(out / index) | journal.names())
    foreign = foreign_files(out, sorted(known), own)
    if not journal.is_ours():
        foreign.append(journal.path.name)
    if foreign:
        stop(foreign_message(out, foreign))
    return own


def _listed(index: Path) -> set[str]:
    """Return the files that the file of an earlier run lists, with itself; empty if it is none."""
    try:
        files = read_json(index)["files"]
        return set(files) if isinstance(files, list) and index.name in files else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


@contextlib.contextmanager
def writing(out: Path, index: str, names: Iterable[str]) -> Iterator[set[str]]:
    """Lock a folder while its results are written; yield the files that an earlier run has written.

    If the body raises, the files that were not there before are removed.

    Args:
        out: the folder.
        index: see :func:`check_names`.
        names: see :func:`check_names`.

    Raises:
        FolderInUse: another run is writing to the folder.

    """
    names = list(names)
    with lock_folder(out):
        remove_temporary(out)
        own, journal = check_names(out, index, names), Journal(out, index)
        journal.add(names)
        try:
            yield own
        except BaseException:
            with uninterrupted():  # else the journal stays, and the next run removes the files
                for name in names:
                    if name not in own:
                        with contextlib.suppress(OSError):
                            (out / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    journal.clear()
            raise
        with contextlib.suppress(OSError):
            journal.clear()
