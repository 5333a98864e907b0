"""The images of files and folders, local or elsewhere."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from wsolrefine.data.images import SUFFIXES
from wsolrefine.scale.items import Item
from wsolrefine.scale.places import Place


def images_of(place: Place, found: list[str], base: str) -> Iterator[Item]:
    """Yield the images that are found, and those in the folders that are.

    Args:
        place: their file system.
        found: paths in it. A single file is taken for an image whatever its name.
        base: folder below which their paths are their ids.

    """
    for path in found:
        if place.files.isdir(path):
            for file in _walk(place, path):
                yield Item(below(file, base), place.address(file))
        elif len(found) == 1 or path.lower().endswith(SUFFIXES):
            yield Item(below(path, base), place.address(path))


def below(path: str, base: str) -> str:
    """Return the path of a file below a folder."""
    return posixpath.relpath(path, base) if path != base else posixpath.basename(path)


def _walk(place: Place, folder: str) -> Iterator[str]:
    """Yield the image files below a folder in order; a folder reached twice is searched once."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        if place.is_local:
            if (real := os.path.realpath(here)) in seen:
                continue
            seen.add(real)
        entries = [e for e in _entries(place, here) if posixpath.basename(e[0])[:1] != "."]
        waiting.extend(path for path, is_folder in reversed(entries) if is_folder)
        files = (path for path, is_folder in entries if not is_folder)
        yield from (path for path in files if path.lower().endswith(SUFFIXES))


def _entries(place: Place, folder: str) -> list[tuple[str, bool]]:
    if place.is_local:
        with os.scandir(folder) as entries:
            return sorted((posixpath.join(folder, e.name), e.is_dir()) for e in entries)
    found = place.files.ls(folder, detail=True)  # on object stores with the folder itself
    names = ((str(entry["name"]).rstrip("/"), entry["type"] == "directory") for entry in found)
    return sorted(entry for entry in names if entry[0] != folder.rstrip("/"))
