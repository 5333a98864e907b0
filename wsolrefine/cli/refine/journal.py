"""Which images are being written: so that what a killed run leaves is known from a user's files."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from wsolrefine.cli.files import remove_temporary
from wsolrefine.cli.refine.stored import FOLDERS, results_of
from wsolrefine.data._lines import stays_below

JOURNAL = ".wsolrefine-started"
"""A line of JSON for each image whose results may exist without being in the results file yet."""


class Journal:
    """The journal of a folder of results.

    The name of an image is added before its results are written, and the journal ends when the
    results file lists them.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / JOURNAL

    def names(self) -> set[str]:
        """Return the names of the images that an interrupted run has started."""
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
        """Note that the results of these images are written from now on."""
        lines = "".join(f"{json.dumps(name)}\n" for name in names)
        with self.path.open("a", encoding="ascii") as file:
            file.write(lines)

    def clear(self) -> None:
        """End the journal, because the results file has been written."""
        self.path.unlink(missing_ok=True)

    def settle(self, listed: set[str]) -> None:
        """Delete what an interrupted run has left: temporary files, and results that no file lists.

        Call it only while the folder is locked.

        Args:
            listed: paths of the results that are in the results file.

        """
        out, started = self.path.parent, self.names()
        remove_temporary(out, *(out / folder for folder in folders_below(out)))
        if started:
            for file in files_below(out):
                if file not in listed and not started.isdisjoint(results_of(file.split("/", 1)[1])):
                    (out / file).unlink(missing_ok=True)
        self.clear()


def folders_below(out: Path) -> Iterator[str]:
    """Yield the folders of results; links to folders are not followed."""
    for folder in FOLDERS:
        if not (out / folder).is_symlink():
            for place, _, _ in os.walk(out / folder):
                yield Path(place).relative_to(out).as_posix()


def files_below(out: Path) -> Iterator[str]:
    """Yield the files in the folders of results, by their path below ``out``."""
    for folder in folders_below(out):
        with os.scandir(out / folder) as entries:
            yield from (
                f"{folder}/{e.name}" for e in entries if not e.is_dir(follow_symlinks=False)
            )
