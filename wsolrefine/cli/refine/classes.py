"""The ``--classes`` option: the top K classes, or a list of classes."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from wsolrefine._files import read_bytes
from wsolrefine.cli.console import similar_names
from wsolrefine.data._image_labels import read_image_labels


def parse_classes(text: str, class_names: Sequence[str] | None, number: int) -> int | list[int]:
    """Parse ``top1``, ``top5``, or a comma-separated list of indices and names.

    A name is one of ``class_names``, or one of its comma-separated parts; case is ignored. If a
    number or ``topK`` is the name of another class too, it is refused: ``index:4`` is always the
    index.

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
        >>> parse_classes("index:1, index:0", ["1", "0"], 2)
        [1, 0]

    """
    indices: dict[str, set[int]] = {}
    for index, name in enumerate(class_names or ()):
        for word in {name, *name.split(",")}:
            indices.setdefault(_normalized(word), set()).add(index)
    if top := re.fullmatch(r"top(\d+)", text.strip().lower()):
        if not 1 <= (count := _whole(top[1])) <= number:
            raise ValueError(f"classes: expected top1 to top{number}, got {_short(text)}")
        if named := indices.get(_normalized(text)):
            _refuse(text.strip(), sorted(named))
        return count
    words = text.split(",")
    if _normalized(text) in indices and not all(word.strip().isdecimal() for word in words):
        words = [text]
    return list(dict.fromkeys(_index(word.strip(), indices, number) for word in words))


def class_index(label: str, names: Sequence[str] | None, number: int) -> int:
    """Return the index of one class that a source names.

    Raises:
        ValueError: the model has no such class.

    Example:
        >>> class_index("index:1", None, 2), class_index("crane", ["kite", "crane"], 2)
        (1, 1)

    """
    found = parse_classes(label, names, number)
    if isinstance(found, int) or len(found) > 1:
        raise ValueError(f"classes: expected the name of one class, got {label!r:.80}")
    return found[0]


def labels_hash(path: Path) -> str:
    """Return the SHA-256 of a file of image-level labels.

    Raises:
        ValueError: it cannot be read.

    """
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ValueError:
    reason = (error.strerror or str(error)).lower()
    return ValueError(f"labels: expected a file, got {path} ({reason})")


def labels_by_name(
    path: Path, images: Sequence[str], names: Sequence[str] | None, number: int
) -> dict[str, list[int]]:
    """Return the class indices of each image that a file of image-level labels has, each once.

    Args:
        path: the file, see :func:`wsolrefine.data._image_labels.read_image_labels`.
        images: the names of all images.
        names: names of the model's classes; None if it has none.
        number: number of the model's classes.

    Raises:
        ValueError: the file cannot be read, lacks an image, or has a class that the model has not.

    """
    try:
        found = read_image_labels(path, images)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise ValueError(f"labels: {str(error).removeprefix('labels: ')}") from None
    indices: dict[str, int] = {}

    def index(label: int | str) -> int:
        if isinstance(label, int):
            if not 0 <= label < number:
                expected = f"an index from 0 to {number - 1}"
                raise ValueError(f"labels: expected {expected}, got {label}")
            return label
        if label not in indices:
            try:
                indices[label] = class_index(label, names, number)
            except ValueError as error:
                reason = str(error).removeprefix("classes: ").replace("topK, ", "")
                raise ValueError(f"labels: {reason}") from None
        return indices[label]

    return {name: [*dict.fromkeys(map(index, found.of(name)))] for name in images}


def _normalized(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _index(word: str, indices: dict[str, set[int]], number: int) -> int:
    digits = re.sub("^index *: *", "", word, flags=re.IGNORECASE)
    named = sorted(indices.get(_normalized(word), ())) if digits == word else []
    if digits.isdecimal() and (_whole(digits) < number or not named):
        if (index := _whole(digits)) >= number:
            expected = f"an index from 0 to {number - 1}"
            raise ValueError(f"classes: expected {expected}, got {_short(word)}")
        if named not in ([], [index]):
            _refuse(word, named)
        return index
    if len(named) == 1:
        return named[0]
    if named:
        raise ValueError(f"classes: expected an index, got {word!r}, the name of classes {named}")
    hint = similar_names(_normalized(word), indices)
    names = "an index or a class name" if indices else "an index (this model has no class names)"
    raise ValueError(f"classes: expected topK, {names}, got {_short(word)!r}{hint}")


def _refuse(word: str, named: list[int]) -> NoReturn:
    """Raise for a word that may mean two things."""
    meant = [word] if word.isdecimal() else []
    expected = " or ".join(f"index:{index}" for index in [*meant, *named])
    raise ValueError(
        f"classes: expected {expected}, got {word}, which is also the name of "
        f"class{'es' if len(named) > 1 else ''} {', '.join(map(str, named))}"
    )


def _whole(digits: str) -> int:
    """Return a number; if it has more digits than Python reads, one above any number of classes."""
    return int(digits) if len(digits) < 1000 else sys.maxsize


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
