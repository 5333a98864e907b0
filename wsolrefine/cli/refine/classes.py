"""The ``--classes`` option: how many of the best classes, or which."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence


def parse_classes(text: str, class_names: Sequence[str] | None, number: int) -> int | list[int]:
    """Read ``top1``, ``top5``, or a comma-separated list of indices and names.

    A name is one of ``class_names``, whatever the case, or one of the words between commas in it.

    Args:
        text: what the user wrote.
        class_names: the classifier's names, or None if it has none.
        number: how many classes the classifier knows.

    Returns:
        The K of the best K classes of each image, or the list of class indices.

    Raises:
        ValueError: an unknown or ambiguous name, or a number out of range.

    Example:
        >>> parse_classes("top2", None, 10), parse_classes("crane, 3", ["kite", "crane"], 10)
        (2, [1, 3])

    """
    top = re.fullmatch(r"top(\d+)", text.strip().lower())
    if top:
        if not 1 <= int(top[1]) <= number:
            raise ValueError(f"classes: expected top1 to top{number}, got {text}")
        return int(top[1])
    named: dict[str, set[int]] = {}
    for index, name in enumerate(class_names or ()):
        for word in {name, *name.split(",")}:
            named.setdefault(_plain(word), set()).add(index)
    whole = [text] if _plain(text) in named else text.split(",")
    return list(dict.fromkeys(_index(word, named, number) for word in whole))


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _index(word: str, named: dict[str, set[int]], number: int) -> int:
    word = word.strip()
    if word.isdecimal():
        if int(word) >= number:
            raise ValueError(f"classes: expected an index from 0 to {number - 1}, got {word}")
        return int(word)
    found = sorted(named.get(_plain(word), ()))
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"classes: {word!r} names the classes {found}, give the index")
    close = difflib.get_close_matches(_plain(word), named, n=3) if word else []
    hint = f" (close: {', '.join(map(repr, close))})" if close else ""
    names = "an index or a class name" if named else "an index (this model has no class names)"
    raise ValueError(f"classes: expected topK, {names}, got {word!r}{hint}")
