"""The results of ``wsolrefine refine``: a COCO file, and maps as pictures beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from wsolrefine._files import read_json
from wsolrefine.export.records import Object, Record, RunLengths

RESULTS = "wsolrefine.json"
UNFINISHED = f".{RESULTS}.finished"
"""The file of lines that a run keeps while it works."""


class Refined(NamedTuple):
    """The images of a folder of results, and the names of all classes of the model."""

    records: list[Record]
    names: dict[int, str]


def read_refined(folder: Path) -> Refined:
    """Read a folder of results.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged or of something else, or its run has not ended.

    """
    path = folder / RESULTS
    if (folder / UNFINISHED).exists():
        raise ValueError(
            f"folder: expected finished results, got {folder}, whose run is still at work or was "
            "stopped: run the same refine again"
        )
    content = read_json(path)
    try:
        names = {int(one["id"]): str(one["name"]) for one in content["categories"]}
        # With labels of each image, its files are named by class even if it has one only.
        by_class = "labels" in content.get("info", {}).get("settings", {})
        entries: dict[int, list[Any]] = {image["id"]: [] for image in content["images"]}
        for entry in content["annotations"]:
            entries[entry["image_id"]].append(entry)
        records = [
            _record(folder, image, entries[image["id"]], names, by_class)
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: expected a file of wsolrefine refine ({what:.120})") from None
    return Refined(records, names)


def _record(
    folder: Path, image: Any, entries: list[Any], names: dict[int, str], by_class: bool
) -> Record:
    objects = []
    for entry in entries:
        x, y, width, height = map(float, entry["bbox"])
        runs = entry["segmentation"]
        objects.append(
            Object(
                entry["category_id"],
                names[entry["category_id"]],
                float(entry["score"]),
                (x, y, x + width, y + height),
                RunLengths(str(runs["counts"]), (int(runs["size"][0]), int(runs["size"][1]))),
                folder / entry["map"] if "map" in entry else None,
            )
        )
    used = {entry.get("map") for entry in entries}
    objects += _without_object(folder, image["files"], used, names, by_class)
    source = os.path.abspath(folder / image["source"])  # noqa: PTH100 - links stay links
    return Record(image["file_name"], int(image["width"]), int(image["height"]), objects, source)


def _without_object(
    folder: Path, files: list[str], used: set[Any], names: dict[int, str], by_class: bool
) -> list[Object]:
    """Return the classes whose mask is empty, which have a map and no annotation.

    If an image has one map only, its file does not say of which class.
    """
    maps = [file for file in files if file.startswith("maps/")]
    found = []
    for file in maps:
        if file in used:
            continue
        named = re.search(r"\.([0-9]+)\.png$", file) if by_class or len(maps) > 1 else None
        label = int(named[1]) if named and int(named[1]) in names else -1
        found.append(Object(label, names.get(label, ""), map=folder / file))
    return found
