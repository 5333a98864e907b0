"""The results file of an earlier run, with every value checked: a file may have been altered."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wsolrefine._files import MAX_TEXT, NotAFile, open_regular
from wsolrefine.cli.refine.fields import ANNOTATION, IMAGE, check_fields
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of, without_suffix
from wsolrefine.cli.refine.stream import Place, Stream
from wsolrefine.data._lines import stays_below

FORMAT = 1

Record = dict[str, Any]


class BadResults(Exception):  # noqa: N818 - the file is at fault
    """The results file cannot be read, or was not written by this command."""


class Listed(NamedTuple):
    """What a results file holds: of each image, by name, where it and its annotations are."""

    info: Record
    categories: dict[int, str]
    images: dict[str, tuple[Place, tuple[Place, ...]]]


class _Image(NamedTuple):
    """What is needed of an image to check its annotations."""

    fields: Record
    place: Place
    annotations: list[Place]


def read_listed(path: Path) -> Listed:
    """Read a results file, value by value.

    Raises:
        FileNotFoundError: there is none.
        BadResults: it cannot be read, or its values are not those that this command writes.

    """
    try:
        with open_regular(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_TEXT:
                raise ValueError(f"expected at most {MAX_TEXT:,} bytes, got {size:,}")
            info, categories, images = _read_images(file)
            file.seek(0)
            _read_annotations(file, images, categories)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except NotAFile as error:
        raise BadResults(f"{path}: not a results file of wsolrefine ({error.kind})") from None
    except OSError as error:
        raise BadResults(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise BadResults(f"{path}: not a results file of wsolrefine ({error})") from None
    return Listed(
        info,
        categories,
        {
            image.fields["file_name"]: (image.place, tuple(image.annotations))
            for image in images.values()
        },
    )


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


def _read_images(file: BinaryIO) -> tuple[Record, dict[int, str], dict[int, _Image]]:
    """Read all but the annotations."""
    stream, found = Stream(file), dict[str, Any]()
    categories: dict[int, str] = {}
    images: dict[int, _Image] = {}
    names: set[str] = set()
    for key in stream.members():
        if key == "categories":
            for number, (entry, _) in enumerate(stream.elements()):
                where = f"categories[{number}]"
                check_whole(entry, "id", where)
                if entry["id"] < 0 or entry["id"] in categories:
                    got = entry["id"]
                    raise ValueError(f"{where}: id: expected a class of its own, got {got}")
                categories[entry["id"]] = of_kind(str, entry, "name", where)
        elif key == "images":
            for number, (entry, place) in enumerate(stream.elements()):
                where = f"images[{number}]"
                check_whole(entry, "id", where)
                check_image(entry, where)
                if entry["id"] < 1:
                    raise ValueError(f"{where}: id: expected a number from 1, got {entry['id']}")
                if entry["id"] in images or entry["file_name"] in names:
                    raise ValueError(f"{where}: expected an id and a name of its own")
                fields = {name: entry[name] for name in ("file_name", "width", "height")}
                images[entry["id"]] = _Image(fields, place, [])
                names.add(entry["file_name"])
        elif key == "annotations":
            for _ in stream.elements():
                pass
        else:
            found[key], _ = stream.value()
            continue
        found[key] = None
    stream.end()
    _check_info(found)
    for key in ("categories", "images", "annotations"):
        if key not in found:
            raise ValueError(f"the file: {key}: expected list, got NoneType")
    return found["info"], categories, images


def _read_annotations(
    file: BinaryIO, images: Mapping[int, _Image], categories: Mapping[int, str]
) -> None:
    """Note where the annotations of each image are."""
    stream = Stream(file)
    for key in stream.members():
        if key != "annotations":
            stream.value()
            continue
        for number, (entry, place) in enumerate(stream.elements()):
            where = f"annotations[{number}]"
            check_whole(entry, "image_id", where)
            image = images.get(entry["image_id"])
            if image is None:
                got = entry["image_id"]
                raise ValueError(f"{where}: expected the id of an image, got {got}")
            check_annotation(entry, image.fields, categories, where)
            image.annotations.append(place)


def _check_info(content: Record) -> None:
    info = of_kind(dict, content, "info", "the file")
    settings = of_kind(dict, info, "settings", "info")
    if info.get("format") != FORMAT:
        raise ValueError(f"info: expected format {FORMAT}, got {info.get('format')!r}")
    if "model" in info and not re.fullmatch("[0-9a-f]{64}", of_kind(str, info, "model", "info")):
        raise ValueError(f"info: model: expected a SHA-256, got {info['model']!r:.80}")
    check_finite(settings, "settings", depth=4)


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
