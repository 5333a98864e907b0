"""The ``--classes`` option: the top K classes, or a list of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wsolrefine.cli.console import similar_names


def parse_classes(text: str, class_names: Sequence[str] | None, number: int) -> int | list[int]:
    """Parse ``top1``, ``top5``, or a comma-separated list of indices and names.

    A name is one of ``class_names``, or one of its comma-separated parts; case is ignored.

    Args:
        text: value of the option.
        class_names: names of the classifier's classes; None if it has none.
        number: number of the classifier's classes.

    Returns:
        The number K of the top classes of each image, or the list of class indices.

    Raises:
        ValueError: a name is unknown or ambiguous, or a number is out of range.

    Example:
        >>> parse_classes("top2", None, 10), parse_classes("crane, 3", ["kite", "crane"], 10)
        (2, [1, 3])

    """
    top = re.fullmatch(r"top(\d+)", text.strip().lower())
    if top:
        if not 1 <= int(top[1]) <= number:
            raise ValueError(f"classes: expected top1 to top{number}, got {text}")
        return int(top[1])
    indices: dict[str, set[int]] = {}
    for index, name in enumerate(class_names or ()):
        for word in {name, *name.split(",")}:
            indices.setdefault(_normalized(word), set()).add(index)
    words = [text] if _normalized(text) in indices else text.split(",")
    return list(dict.fromkeys(_index(word, indices, number) for word in words))


def _normalized(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _index(word: str, indices: dict[str, set[int]], number: int) -> int:
    word = word.strip()
    if word.isdecimal():
        if int(word) >= number:
            raise ValueError(f"classes: expected an index from 0 to {number - 1}, got {word}")
        return int(word)
    found = sorted(indices.get(_normalized(word), ()))
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"classes: expected an index, got {word!r}, the name of classes {found}")
    hint = similar_names(_normalized(word), indices)
    names = "an index or a class name" if indices else "an index (this model has no class names)"
    raise ValueError(f"classes: expected topK, {names}, got {word!r}{hint}")
