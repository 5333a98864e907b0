"""The image files behind one argument: a file, a folder to any depth, or a glob."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from wsolrefine.data.images import SUFFIXES

Problems = list[tuple[str, str]]
"""What could not be used and why, in plain words."""


def expand(argument: str, problems: Problems) -> Iterator[tuple[Path, str]]:
    """Yield each file of one argument with its path below the folder that was given."""
    if not argument.strip():  # an unset variable of the shell must not mean "this folder"
        problems.append((repr(argument), "an empty name"))
        return
    path = Path(argument)
    if os.path.lexists(path):  # first, because a name may hold the letters of a pattern
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
    """Return "folder", "file", or what is wrong; unlike pathlib this never raises."""
    try:
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
        return "not a file" if path.exists() else "a link that leads nowhere"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _glob(pattern: Path) -> list[Path]:
    # pathlib, because its ** does not follow links to folders: glob.glob runs round link loops.
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    try:
        matches = list(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))))
    except (ValueError, OSError):  # two stars beside other letters are no pattern to pathlib
        return []
    # A pattern such as photos/* means the images there, *.txt means what it says.
    if not pattern.suffix or glob.has_magic(pattern.suffix):
        matches = [m for m in matches if m.suffix.lower() in SUFFIXES or _kind(m) == "folder"]
    hidden = any(part.startswith(".") for part in parts[fixed:])
    return sorted(m for m in matches if hidden or not any(p[0] == "." for p in m.parts[fixed:]))


def _walk(folder: Path, seen: set[str], problems: Problems) -> Iterator[Path]:
    """Yield the image files below a folder in order; a folder reached twice is read once."""
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
