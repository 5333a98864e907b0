"""Files of image-level labels: which classes each image has, several or one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wsolrefine._files import open_regular, read_json
from wsolrefine.data._lines import read_text
from wsolrefine.data.images import SUFFIXES

Label = int | str
"""An index, or the name of a class."""

SEPARATOR = ";"
"""Between several labels in one field of a table."""


class ImageLabels:
    """The labels of images by name.

    Args:
        labels: the labels of each image, by its name or its name without suffix.

    """

    def __init__(self, labels: dict[str, list[Label]]) -> None:
        self._labels = labels

    def of(self, name: str) -> list[Label]:
        """Return the labels of an image.

        Raises:
            ValueError: there are none of this name.

        Example:
            >>> ImageLabels({"b/wren": [3, "robin"]}).of("b/wren.jpg")
            [3, 'robin']

        """
        suffix = PurePosixPath(name).suffix
        short = name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name
        found = self._labels.get(name, self._labels.get(short))
        if found is None:
            raise ValueError(f"labels: expected labels of {name!r}, got none")
        return found


def read_image_labels(path: Path, names: Sequence[str]) -> ImageLabels:
    """Read a file of labels.

    ``.json``: ``{"birds/a.jpg": [3, "wren"]}``. ``.csv`` with two columns, image and labels,
    several separated by ``;`` or in several rows; or with a column for each class, 0 or 1.
    ``.npy``: an array (images, classes) of 0 and 1, whose rows are those of the images in the order
    of their names.

    Args:
        path: the file.
        names: the names of all images.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else.

    """
    kind = path.suffix.lower()
    if kind == ".json":
        return ImageLabels(_of_json(path, read_json(path)))
    if kind == ".csv":
        return ImageLabels(_of_table(path, read_text(path)))
    if kind == ".npy":
        return ImageLabels(_of_array(path, sorted(names)))
    raise ValueError(f"labels: expected a file .json, .csv or .npy, got {path}")


def _of_json(path: Path, content: Any) -> dict[str, list[Label]]:
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected labels by image, got {type(content).__name__}")
    found: dict[str, list[Label]] = {}
    for name, labels in content.items():
        several = labels if isinstance(labels, list) else [labels]
        for label in several:
            if isinstance(label, bool) or not isinstance(label, int | str):
                raise ValueError(
                    f"{path}: {name}: expected indices or names of classes, got {label!r:.40}"
                )
        found[name] = several
    return found


def _of_table(path: Path, text: str) -> dict[str, list[Label]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise ValueError(f"{path}: expected a row of titles, image and labels, and rows, got less")
    classes: list[Label] = [_label(title) for title in rows[0][1:]]
    found: dict[str, list[Label]] = {}
    for number, row in enumerate(rows[1:], 2):
        where = f"{path}: row {number}"
        if len(row) != len(rows[0]):
            raise ValueError(f"{where}: expected {len(rows[0])} fields, got {len(row)}")
        if len(classes) == 1:
            words = [word.strip() for word in row[1].split(SEPARATOR)]
            labels = [_label(word) for word in words if word]
        else:
            hot = [_flag(field, where) for field in row[1:]]
            labels = [label for label, is_there in zip(classes, hot, strict=True) if is_there]
        found.setdefault(row[0], []).extend(labels)
    return found


def _of_array(path: Path, names: Sequence[str]) -> dict[str, list[Label]]:
    with open_regular(path) as file:
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{path}: expected an array, got {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or len(array) != len(names):
        got = getattr(array, "shape", type(array).__name__)
        raise ValueError(f"{path}: expected an array ({len(names)} images, classes), got {got}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{path}: expected 0 and 1, got other values")
    labels: list[list[Any]] = [np.flatnonzero(row).tolist() for row in array]
    return dict(zip(names, labels, strict=True))


def _label(word: str) -> Label:
    word = word.strip()
    return int(word) if word.isdecimal() and len(word) < 10 else word


def _flag(field: str, where: str) -> bool:
    try:
        value = float(field)
    except ValueError:
        value = -1.0
    if value not in (0.0, 1.0):
        raise ValueError(f"{where}: expected 0 or 1, got {field!r:.40}")
    return value == 1.0
