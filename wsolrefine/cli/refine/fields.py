"""What the fields of a results file may hold: a table of values that this command can write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, Mapping[str, Any]], bool]
Table = Mapping[str, tuple[str, Check]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_box(value: Any, image: Mapping[str, Any]) -> bool:
    if not (isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))):
        return False
    x, y, width, height = value
    inside = x + width <= image["width"] and y + height <= image["height"]
    return bool(min(x, y) >= 0 and min(width, height) > 0 and inside)


def _is_mask(value: Any, image: Mapping[str, Any]) -> bool:
    if not (isinstance(value, dict) and value.keys() == {"size", "counts"}):
        return False
    counts = value["counts"]
    same = value["size"] == [image["height"], image["width"]]
    return bool(same and isinstance(counts, str) and re.fullmatch("[0-o]+", counts))


IMAGE: Table = {
    "width": ("a number of pixels", lambda value, image: value > 0),
    "height": ("a number of pixels", lambda value, image: value > 0),
    "bytes": ("a number of bytes", lambda value, image: value >= 0),
}
"""Fields of an image that are whole numbers: what is expected, and whether a value is that."""

ANNOTATION: Table = {
    "area": (
        "a number of pixels of the image",
        lambda value, image: 0 < value <= image["width"] * image["height"],
    ),
    "bbox": ("a box [x, y, width, height] in the image", _is_box),
    "segmentation": ("run lengths of the size of the image", _is_mask),
    "iscrowd": ("0", lambda value, image: _is_whole(value) and value == 0),
    "score": ("a number in [0, 1]", lambda value, image: _is_number(value) and 0 <= value <= 1),
}
"""Fields of an annotation, given the image that it belongs to."""


def check_fields(
    entry: Mapping[str, Any], image: Mapping[str, Any], table: Table, where: str
) -> None:
    """Check the fields of an entry.

    Args:
        entry: an image or an annotation.
        image: the image that it is or belongs to.
        table: the fields.
        where: place of the entry, for the message.

    Raises:
        ValueError: a field is missing, or has a value that this command does not write.

    Example:
        >>> check_fields({"score": 2}, {}, {"score": ANNOTATION["score"]}, "annotations[0]")
        Traceback (most recent call last):
        ValueError: annotations[0]: score: expected a number in [0, 1], got 2

    """
    for name, (expected, is_right) in table.items():
        if not is_right(entry.get(name), image):
            got = repr(entry.get(name))
            got = got if len(got) <= 80 else f"{got[:80]}..."
            raise ValueError(f"{where}: {name}: expected {expected}, got {got}")
