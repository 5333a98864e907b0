"""The results file of an earlier run, with every value checked: a file may have been altered."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wsolrefine._files import MAX_TEXT, NotAFile, open_regular
from wsolrefine.cli.refine.entries import (
    check_annotation,
    check_finite,
    check_image,
    check_whole,
    of_kind,
)
from wsolrefine.cli.refine.stream import Place, Stream

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
