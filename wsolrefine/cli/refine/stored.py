"""The results file of an earlier run, with every value checked: a file may have been altered."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsolrefine._files import NotAFile, read_json
from wsolrefine.cli.refine.fields import ANNOTATION, IMAGE, check_fields
from wsolrefine.data._lines import stays_below

FORMAT = 1
FOLDERS = ("maps", "masks", "overlays")

Record = dict[str, Any]


class BadResults(Exception):  # noqa: N818 - the file is at fault
    """The results file cannot be read, or was not written by this command."""


def read_content(path: Path) -> Record:
    """Return the content of a results file.

    Raises:
        FileNotFoundError: there is none.
        BadResults: it cannot be read, or its values are not those that this command writes.

    """
    try:
        content = read_json(path)
        _check(content)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except NotAFile as error:
        raise BadResults(f"{path}: not a results file of wsolrefine ({error.kind})") from None
    except OSError as error:
        raise BadResults(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise BadResults(f"{path}: not a results file of wsolrefine ({reason})") from None
    return dict(content)


def results_of(name: str) -> Iterator[str]:
    """Yield the images of which a file below ``maps`` or its like would be the result.

    Example:
        >>> list(results_of("birds/wren.jpg.5.png"))
        ['birds/wren.jpg.5', 'birds/wren.jpg']

    """
    if name.endswith(".png"):
        base = name.removesuffix(".png")
        yield base
        if label := re.fullmatch(r"(.+)\.[0-9]+", base, re.DOTALL):
            yield label[1]


def _check(content: Any) -> None:
    info = _of(dict, content, "info", "the file")
    settings = _of(dict, info, "settings", "info")
    if info.get("format") != FORMAT:
        raise ValueError(f"info: expected format {FORMAT}, got {info.get('format')!r}")
    if "model" in info and not re.fullmatch("[0-9a-f]{64}", _of(str, info, "model", "info")):
        raise ValueError(f"info: model: expected a SHA-256, got {info['model']!r:.80}")
    _finite(settings, "settings", depth=4)
    categories: set[int] = set()
    for number, entry in enumerate(_of(list, content, "categories", "the file")):
        where = f"categories[{number}]"
        _whole(entry, "id", where)
        _of(str, entry, "name", where)
        if entry["id"] < 0 or entry["id"] in categories:
            raise ValueError(f"{where}: id: expected a class of its own, got {entry['id']}")
        categories.add(entry["id"])
    images: dict[int, Record] = {}
    seen: set[str] = set()
    for number, image in enumerate(_of(list, content, "images", "the file")):
        where = f"images[{number}]"
        for key in ("id", "width", "height", "bytes", "modified"):
            _whole(image, key, where)
        check_fields(image, image, IMAGE, where)
        name = _of(str, image, "file_name", where)
        _below(name, f"{where}: file_name")
        _path(_of(str, image, "source", where), f"{where}: source")
        if image["id"] in images or name in seen:
            raise ValueError(f"{where}: expected an id and a name of its own")
        images[image["id"]] = image
        seen.add(name)
        files = _of(list, image, "files", where)
        if not files:
            raise ValueError(f"{where}: files: expected at least one, got none")
        for file in files:
            _file(file, name, f"{where}: files")
        _finite(image, where, depth=3)
    for number, entry in enumerate(_of(list, content, "annotations", "the file")):
        where = f"annotations[{number}]"
        for key in ("image_id", "category_id", "area"):
            _whole(entry, key, where)
        if entry["image_id"] not in images:
            raise ValueError(f"{where}: expected the id of an image, got {entry['image_id']}")
        if (category := entry["category_id"]) not in categories:
            raise ValueError(f"{where}: category_id: expected one of categories, got {category}")
        check_fields(entry, images[entry["image_id"]], ANNOTATION, where)
        for key in ("map", "mask", "overlay"):
            if key in entry:
                _file(entry[key], images[entry["image_id"]]["file_name"], f"{where}: {key}")
        _finite(entry, where, depth=4)


def _of(kind: type, entry: Any, key: str, where: str) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
        got = type(entry.get(key)).__name__ if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"{where}: {key}: expected {kind.__name__}, got {got}")
    return entry[key]


def _whole(entry: Any, key: str, where: str) -> None:
    value = _of(int, entry, key, where)
    if isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise ValueError(f"{where}: {key}: expected a whole number of 64 bits")


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
    folder, _, result = file.partition("/") if isinstance(file, str) else ("", "", "")
    if folder not in FOLDERS or name not in results_of(result):
        raise ValueError(f"{where}: expected the path of a result of {name!r}, got {file!r}")
    _below(file, where)


def _finite(value: Any, where: str, depth: int) -> None:
    """Raise where a value is nested too deeply to be ours, or is a number that JSON has not."""
    if depth == 0 and isinstance(value, dict | list):
        raise ValueError(f"{where}: expected values that are not nested so deeply")
    if isinstance(value, float) and value - value != 0:
        raise ValueError(f"{where}: expected finite numbers, got {value}")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        _finite(part, where, depth - 1)
