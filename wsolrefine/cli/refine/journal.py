"""What an interrupted run of ``refine`` has left, told from a user's files by the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wsolrefine.cli.files import remove_temporary
from wsolrefine.cli.journal import Journal
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of


def remove_unlisted(journal: Journal, listed: set[str]) -> None:
    """Delete what an interrupted run has left: temporary files, and results that no file lists.

    Call it only while the folder is locked. The journal stays until the results file is written.

    Args:
        journal: bases of the results that were started.
        listed: paths of the results that are in the results file.

    """
    out, started = journal.path.parent, journal.names()
    remove_temporary(out, *(out / folder for folder in folders_below(out)))
    if started:
        for file in files_below(out):
            if file not in listed and not started.isdisjoint(bases_of(file)):
                (out / file).unlink(missing_ok=True)


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
