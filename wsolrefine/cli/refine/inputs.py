"""From the arguments of ``refine`` to a list of image files with unique names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.console import Problems
from wsolrefine.cli.files import MISSING, FolderInUse, kind_of
from wsolrefine.cli.journal import Journal
from wsolrefine.cli.refine.coco import RESULTS, Known, Results
from wsolrefine.cli.refine.names import Names
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of
from wsolrefine.cli.refine.stored import BadResults
from wsolrefine.data.images import SUFFIXES


class Found(NamedTuple):
    """An image file, its name, and the base of its results, with ``/`` between folders."""

    path: Path
    name: str
    base: str


class Inputs(NamedTuple):
    """The images of a run, the problems, and how many were repeated or are results."""

    images: list[Found]
    problems: Problems
    repeated: int
    results: int


def find_images(
    arguments: Iterable[str], out: Path, known: Mapping[str, Known], own: set[str]
) -> Inputs:
    """Expand files, folders and globs.

    Each file is used once, even if several names or links lead to it. Results of this command, that
    is what the results file of a folder lists, are never used as input; other images beside them
    are. The name of an image is its path below the given folder, see :class:`Names`.

    Args:
        arguments: files, folders (searched recursively, without hidden files) and globs.
        out: real path of the folder of the results.
        known: the images already in ``out``, which keep their names, by their real path.
        own: paths of the results in ``out``.

    """
    problems: Problems = []
    names, earlier = Names(known), _Earlier(out, own, problems)
    images: dict[str, tuple[int, Path, str]] = {}
    repeated = results = 0
    for number, argument in enumerate(arguments):
        empty, before = True, len(problems)
        for path, relative in expand(argument, problems):
            empty = False
            source = os.path.realpath(path)
            if earlier.has(Path(source)):
                results += 1
            elif source in images:
                repeated += images[source][0] != number
            else:
                images[source] = number, path, names.of(source, relative)
        if empty and len(problems) == before:
            problems.append((argument, "a folder without images"))
    bases = names.bases()
    found = [Found(path, name, bases[name]) for _, path, name in images.values()]
    return Inputs(found, problems, repeated, results)


class _Earlier:
    """The results of this and of earlier runs, in any folder; each results file is read once."""

    def __init__(self, out: Path, own: set[str], problems: Problems) -> None:
        self._out, self._problems = out, problems
        self._listed: dict[Path, set[str] | None] = {out: own}
        self._started: dict[Path, set[str]] = {}

    def has(self, source: Path) -> bool:
        """Tell whether a file is a result."""
        for folder in source.parents:
            if folder.name not in FOLDERS:
                continue
            base, file = folder.parent, source.relative_to(folder.parent).as_posix()
            if base not in self._started:
                self._started[base] = Journal(base, RESULTS).names()
                if base not in self._listed:
                    self._listed[base] = self._read(base)
            listed = self._listed[base]
            if listed is None or file in listed:
                return True
            if not self._started[base].isdisjoint(bases_of(file)):
                return True
        return source.name == RESULTS

    def _read(self, base: Path) -> set[str] | None:
        """Return what the results file of a folder lists; None if that cannot be known."""
        try:
            earlier = Results.read(base)
            return set() if earlier is None else earlier.files()
        except BadResults as error:
            reason = str(error)
        except FolderInUse:
            reason = "another run, which is writing to it"
        self._problems.append(
            (str(base), f"{', '.join(FOLDERS)} are passed over, because of {reason}")
        )
        return None


def each_once(arguments: Iterable[str], problems: Problems) -> list[tuple[Path, str]]:
    """Return each image once, with its path below the given folder."""
    found: dict[str, tuple[Path, str]] = {}
    for argument in arguments:
        before, empty = len(problems), True
        for path, name in expand(argument, problems):
            empty = False
            found.setdefault(os.path.realpath(path), (path, name))
        if empty and len(problems) == before:
            problems.append((argument, "a folder without images"))
    return list(found.values())


def expand(argument: str, problems: Problems) -> Iterator[tuple[Path, str]]:
    """Yield each file of one argument with its path below the given folder."""
    if not argument.strip():  # an unset shell variable must not mean the current folder
        problems.append((repr(argument), "an empty name"))
        return
    if "\0" in argument:
        problems.append((argument, "no such file or folder"))
        return
    path = Path(argument)
    if os.path.lexists(path):  # first, because a name may contain the characters of a pattern
        matches = [path]
    elif glob.has_magic(argument):
        matches = _glob(path)
        if not matches:
            kind = kind_of(path)
            problems.append((argument, "the pattern matches nothing" if kind == MISSING else kind))
    else:
        matches = []
        problems.append((argument, kind_of(path)))
    seen: set[str] = set()
    for match in matches:
        kind = kind_of(match)
        if kind == "folder":
            for file in _walk(match, seen, problems):
                yield file, file.relative_to(match).as_posix()
        elif kind == "file":
            yield match, match.name
        else:
            problems.append((str(match), kind))


def _glob(pattern: Path) -> list[Path]:
    # pathlib, because its ** does not follow links to folders; glob.glob does, also in a loop.
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    try:
        matches = list(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))))
    except (ValueError, OSError):  # pathlib rejects ** next to other characters
        return []
    # A pattern such as photos/* means only the images there; *.txt is taken literally.
    if not pattern.suffix or glob.has_magic(pattern.suffix):
        matches = [m for m in matches if m.suffix.lower() in SUFFIXES or kind_of(m) == "folder"]
    hidden = any(part.startswith(".") for part in parts[fixed:])
    return sorted(m for m in matches if hidden or not any(p[0] == "." for p in m.parts[fixed:]))


def _walk(folder: Path, seen: set[str], problems: Problems) -> Iterator[Path]:
    """Yield the image files below a folder in order; a folder reached twice is searched once."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")
        except OSError as error:
            problems.append((str(folder), (error.strerror or str(error)).lower()))
            continue
        kinds = [(entry, kind_of(entry)) for entry in entries]
        waiting.extend(entry for entry, kind in reversed(kinds) if kind == "folder")
        for entry, kind in kinds:
            if kind != "folder" and entry.suffix.lower() in SUFFIXES:
                if kind == "file":
                    yield entry
                else:
                    problems.append((str(entry), kind))
