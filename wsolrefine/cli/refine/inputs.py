"""From the arguments of the command line to a list of image files, each with a name of its own."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.refine.coco import FOLDERS, RESULTS
from wsolrefine.cli.refine.walk import Problems, expand


class Found(NamedTuple):
    """An image file and the name that its results get, with ``/`` between folders."""

    path: Path
    name: str


class Inputs(NamedTuple):
    """The images of a run, the problems, and how many were given again or are results."""

    images: list[Found]
    problems: Problems
    repeated: int
    results: int


def find_images(arguments: Iterable[str], out: Path, known: Mapping[str, str]) -> Inputs:
    """Expand files, folders and globs.

    A file is taken once, however many names or links lead to it. Results of this command (in
    ``out``, or in any folder that holds a results file) are never taken as input. The name is the
    path below the folder that was given; where two files would share one, folders are put before
    it until they differ.

    Args:
        arguments: files, folders (searched to any depth, hidden files left out) and globs.
        out: real path of the folder of the results.
        known: real path to name, for the images that ``out`` already holds: they keep theirs.

    """
    problems: Problems = []
    names = {_folded(name): source for source, name in known.items()}
    images: dict[str, tuple[int, Found]] = {}
    repeated = results = 0
    for number, argument in enumerate(arguments):
        took, before = False, len(problems)
        for path, relative in expand(argument, problems):
            took = True
            source = os.path.realpath(path)
            if _is_result(Path(source), out):
                results += 1
            elif source in images:
                repeated += images[source][0] != number
            else:
                name = known.get(source) or _free_name(source, relative, names)
                names[_folded(name)] = source
                images[source] = number, Found(path, name)
        if not took and len(problems) == before:
            problems.append((argument, "a folder with no image in it"))
    return Inputs([found for _, found in images.values()], problems, repeated, results)


def _is_result(source: Path, out: Path) -> bool:
    return source.name == RESULTS or any(
        folder.name in FOLDERS and (folder.parent == out or (folder.parent / RESULTS).is_file())
        for folder in source.parents
    )


def _folded(name: str) -> str:
    # Two names that differ in case or in the way accents are stored are one file on some disks.
    return unicodedata.normalize("NFC", name).casefold()


def _free_name(source: str, relative: str, names: Mapping[str, str]) -> str:
    name, number = relative, 1
    for folder in list(Path(source).parents)[relative.count("/") :]:
        if _folded(name) not in names:
            return name
        name = f"{folder.name}/{name}" if folder.name else name
    while _folded(name) in names:
        number += 1
        name = f"{number}/{relative}"
    return name
