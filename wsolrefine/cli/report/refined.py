"""A folder of ``refine`` as a run of the report."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import FolderInUse
from wsolrefine.cli.refine.coco import Results
from wsolrefine.cli.refine.stored import BadResults, Record
from wsolrefine.cli.report.runs import Found, Image, Levels, Run, StoredMap, short_name
from wsolrefine.data import read_image
from wsolrefine.data.images import ImagePolicy

_EDGES = "sem_edges"
_STORED = ImagePolicy(orientation="stored")


def read_refined(folder: Path, limit: int | None) -> Run:
    """Read a folder of results, or stop.

    Args:
        folder: of ``refine``.
        limit: the most images to take, from the first; None: all.

    """
    try:
        results = Results.read(folder)
        if results is None:  # it was there before
            raise FolderInUse
        settings = results.settings
        if settings.get("recipe") == _EDGES:
            stop(f"RESULTS: expected results with masks, got {folder}, the edges of {_EDGES}")
        names = itertools.islice(sorted(results.images), limit)
        images = [_image(folder, results.images[name], results.categories) for name in names]
        method = str(settings.get("method") or settings["recipe"])
        threshold, parts = float(settings["threshold"]), str(settings["parts"])
    except FolderInUse:
        stop(f"another run is writing to {folder}: wait for it", 1)
    except BadResults as error:
        stop(f"RESULTS: {error}")
    except (KeyError, TypeError, ValueError):
        stop(f"RESULTS: expected the settings of wsolrefine refine, got others in {folder}")
    return Run(folder.name or str(folder), method, threshold, parts, images)


def _image(folder: Path, image: Record, categories: Mapping[int, str]) -> Image:
    by_class: dict[int | None, list[Record]] = {}
    for entry in image["annotations"]:
        by_class.setdefault(entry["category_id"], []).append(entry)
    maps = {_label(file): file for file in image["files"] if file.startswith("maps/")}
    if len(maps) > 1:  # several classes: the names of the maps have them, also without a box
        for label in maps:
            by_class.setdefault(label, [])
    by_class = by_class or {None: []}
    only = next(iter(maps.values()), None)
    found = []
    for label, entries in by_class.items():
        boxes = [entry["bbox"] for entry in entries]
        file = entries[0].get("map") if entries else maps.get(label, only)
        name = "no box" if label is None else short_name(categories.get(label, f"class {label}"))
        found.append(
            Found(
                label,
                name,
                max((entry["score"] for entry in entries), default=None),
                [(x, y, x + width, y + height) for x, y, width, height in boxes],
                sum(entry["area"] for entry in entries),
                None if file is None else StoredMap(_Reading(folder / file, image)),
            )
        )
    path = Path(os.path.realpath(folder / image["source"]))
    return Image(image["file_name"], path, (image["width"], image["height"]), found)


def _label(file: str) -> int | None:
    """Return the class in the name of a file of several classes."""
    numbered = re.search(r"\.([0-9]+)\.png$", file)
    return int(numbered[1]) if numbered else None


class _Reading:
    """Reads a map, which must have the size of its image."""

    def __init__(self, path: Path, image: Mapping[str, Any]) -> None:
        self._path, self._shape = path, (image["height"], image["width"])

    def __call__(self) -> Levels:
        levels = np.asarray(read_image(self._path, _STORED))[..., 0]
        if levels.shape != self._shape:
            raise OSError(f"expected {self._shape} pixels as the image, got {levels.shape}")
        return levels
