"""Whether an image or an annotation of a results file is one that ``refine`` writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from wsolrefine.cli.refine.fields import ANNOTATION, IMAGE, check_fields
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of, without_suffix
from wsolrefine.data._lines import stays_below


def check_image(image: Any, where: str) -> None:
    """Raise ValueError unless an image is as this command writes it, but for its id."""
    for key in ("width", "height", "bytes", "modified"):
        check_whole(image, key, where)
    check_fields(image, image, IMAGE, where)
    name = of_kind(str, image, "file_name", where)
    _below(name, f"{where}: file_name")
    _path(of_kind(str, image, "source", where), f"{where}: source")
    for file in of_kind(list, image, "files", where):
        _file(file, name, f"{where}: files")
    check_finite(image, where, depth=3)


def check_annotation(
    entry: Any, image: Mapping[str, Any], categories: Mapping[int, str], where: str
) -> None:
    """Raise ValueError unless an annotation of an image is as this command writes it."""
    for key in ("category_id", "area"):
        check_whole(entry, key, where)
    if (category := entry["category_id"]) not in categories:
        raise ValueError(f"{where}: category_id: expected one of categories, got {category}")
    check_fields(entry, image, ANNOTATION, where)
    for key in ("map", "mask", "overlay"):
        if key in entry:
            _file(entry[key], image["file_name"], f"{where}: {key}")
    check_finite(entry, where, depth=4)


def of_kind(kind: type, entry: Any, key: str, where: str) -> Any:
    """Return a value of an object, or raise ValueError unless it is of a kind."""
    if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
        got = type(entry.get(key)).__name__ if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}: {key}: expected {kind.__name__}, got {got}")
    return entry[key]


def check_whole(entry: Any, key: str, where: str) -> None:
    """Raise ValueError unless a value of an object is a whole number of 64 bits."""
    value = of_kind(int, entry, key, where)
    if isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise ValueError(f"{where}: {key}: expected a whole number of 64 bits")


def check_finite(value: Any, where: str, depth: int) -> None:
    """Raise where a value is nested too deeply to be ours, or is a number that JSON has not."""
    if depth == 0 and isinstance(value, dict | list):
        raise ValueError(f"{where}: expected values that are not nested so deeply")
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{where}: expected finite numbers, got {value}")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        check_finite(part, where, depth - 1)


def _below(name: str, where: str) -> None:
    _path(name, where)
    if not stays_below(name):
        raise ValueError(f"{where}: expected a path that stays below its folder, got {name!r}")


def _path(text: str, where: str) -> None:
    try:
        bad = not text or b"\0" in os.fsencode(text)
    except UnicodeEncodeError:
        bad = True
    if bad:
        raise ValueError(f"{where}: expected a path, got {text!r}")


def _file(file: Any, name: str, where: str) -> None:
    bases = {name, without_suffix(name)}
    if not isinstance(file, str) or bases.isdisjoint(bases_of(file)):
        raise ValueError(
            f"{where}: expected the path of a result of {name!r} in {', '.join(FOLDERS)}, "
            f"got {file!r}"
        )
    _below(file, where)
