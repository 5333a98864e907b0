"""From the arguments of ``refine`` to a list of image files with unique names."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.console import Problems
from wsolrefine.cli.refine.coco import FOLDERS, RESULTS
from wsolrefine.data.images import SUFFIXES


class Found(NamedTuple):
    """An image file and the name of its results, with ``/`` between folders."""

    path: Path
    name: str


class Inputs(NamedTuple):
    """The images of a run, the problems, and how many were repeated or are results."""

    images: list[Found]
    problems: Problems
    repeated: int
    results: int


def find_images(arguments: Iterable[str], out: Path, known: Mapping[str, str]) -> Inputs:
    """Expand files, folders and globs.

    Each file is used once, even if several names or links lead to it. Results of this command (in
    ``out``, or in any folder that contains a results file) are never used as input. The name of an
    image is its path below the given folder. If two files would have the same name, parent folders
    are added until the names differ.

    Args:
        arguments: files, folders (searched recursively, without hidden files) and globs.
        out: real path of the folder of the results.
        known: real path to name, for the images already in ``out``, which keep their names.

    """
    problems: Problems = []
    names = {_folded(name): source for source, name in known.items()}
    images: dict[str, tuple[int, Found]] = {}
    repeated = results = 0
    for number, argument in enumerate(arguments):
        empty, before = True, len(problems)
        for path, relative in expand(argument, problems):
            empty = False
            source = os.path.realpath(path)
            if _is_result(Path(source), out):
                results += 1
            elif source in images:
                repeated += images[source][0] != number
            else:
                name = known.get(source) or _unique_name(source, relative, names)
                names[_folded(name)] = source
                images[source] = number, Found(path, name)
        if empty and len(problems) == before:
            problems.append((argument, "a folder without images"))
    return Inputs([found for _, found in images.values()], problems, repeated, results)


def _is_result(source: Path, out: Path) -> bool:
    return source.name == RESULTS or any(
        folder.name in FOLDERS and (folder.parent == out or (folder.parent / RESULTS).is_file())
        for folder in source.parents
    )


def _folded(name: str) -> str:
    # On some disks, names that differ only in case or in the encoding of accents are one file.
    return unicodedata.normalize("NFC", name).casefold()


def _unique_name(source: str, relative: str, names: Mapping[str, str]) -> str:
    name, number = relative, 1
    for folder in list(Path(source).parents)[relative.count("/") :]:
        if _folded(name) not in names:
            return name
        name = f"{folder.name}/{name}" if folder.name else name
    while _folded(name) in names:
        number += 1
        name = f"{number}/{relative}"
    return name


def expand(argument: str, problems: Problems) -> Iterator[tuple[Path, str]]:
    """Yield each file of one argument with its path below the given folder."""
    if not argument.strip():  # an unset shell variable must not mean the current folder
        problems.append((repr(argument), "an empty name"))
        return
    path = Path(argument)
    if os.path.lexists(path):  # first, because a name may contain the characters of a pattern
        matches = [path]
    elif glob.has_magic(argument):
        matches = _glob(path)
        if not matches:
            problems.append((argument, "the pattern matches nothing"))
    else:
        matches = []
        problems.append((argument, "no such file or folder"))
    seen: set[str] = set()
    for match in matches:
        kind = _kind(match)
        if kind == "folder":
            for file in _walk(match, seen, problems):
                yield file, file.relative_to(match).as_posix()
        elif kind == "file":
            yield match, match.name
        else:
            problems.append((str(match), kind))


def _kind(path: Path) -> str:
    """Return "folder", "file", or what is wrong; unlike pathlib, this never raises."""
    try:
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
        return "not a file" if path.exists() else "a broken link"
    except OSError as error:
        return (error.strerror or str(error)).lower()


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
        matches = [m for m in matches if m.suffix.lower() in SUFFIXES or _kind(m) == "folder"]
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
        kinds = [(entry, _kind(entry)) for entry in entries]
        waiting.extend(entry for entry, kind in reversed(kinds) if kind == "folder")
        for entry, kind in kinds:
            if kind != "folder" and entry.suffix.lower() in SUFFIXES:
                if kind == "file":
                    yield entry
                else:
                    problems.append((str(entry), kind))
