"""Names of classes from a file or a list."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from wsolrefine._files import read_bytes, read_json
from wsolrefine._options import check_path, check_texts


def read_class_names(source: str | PathLike[str] | Sequence[str]) -> list[str]:
    """Return the name of each class, in the order of the classifier's outputs.

    Args:
        source: the names; or a text file with a name a line; or a file ``.json`` with a list of
            names, or with an object: index to name, or name to index.

    Raises:
        OSError: the file cannot be read.
        TypeError: it is neither a path nor a list of strings.
        ValueError: there is no name, or the file has another form.

    Example:
        >>> read_class_names(["cup", "saucer"])
        ['cup', 'saucer']

    """
    if isinstance(source, (str, PathLike)):
        path = check_path("class_names", source)
        names = _of_json(path) if path.lower().endswith(".json") else _lines(path)
        shown = path
    else:
        names, shown = check_texts("class_names", source), "[]"
    if not names:
        raise ValueError(f"class_names: expected at least one name, got none in {shown}")
    for index, name in enumerate(names):
        if not name.strip():
            raise ValueError(f"class_names: expected a name for each class, got none for {index}")
    return names


def _lines(path: str) -> list[str]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            f"class_names: expected a text file in UTF-8, a name a line, got {path}"
        ) from None
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _of_json(path: str) -> list[str]:
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"class_names: {error}") from None
    names = [*content] if isinstance(content, list) else _by_index(content)
    if names is None or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"class_names: expected a JSON list of names, or an object with the indices from 0 and "
            f"their names, got other content in {os.fspath(path)}"
        )
    return names


def _by_index(content: Any) -> list[str] | None:
    """Return the values of an object whose keys are all indices from 0; or the other way round."""
    if not isinstance(content, Mapping):
        return None
    pairs = [*content.items()]
    if all(type(value) is int for _, value in pairs):
        pairs = [(str(value), key) for key, value in pairs]
    named = dict(pairs)
    ordered = [str(index) for index in range(len(content))]
    return [named[index] for index in ordered] if {*named} == {*ordered} else None
