"""Whether a classifier has the classes of a data set, in the same order, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

SYNSET = r"n\d{8}"


class Names(NamedTuple):
    """The classes whose names agree at their index, and those that are at another index."""

    same: int
    moved: list[tuple[int, int]]
    total: int


def compare_names(first: Sequence[str] | None, second: Sequence[str] | None) -> Names | None:
    """Compare two lists of class names; None if they cannot be compared.

    Two names agree if they have a synonym in common (synonyms stand after commas). Case, blanks,
    underscores, hyphens, and numbers such as ``001.`` at the start are ignored. Names are not
    compared where a list has none, has only numbers, or has identifiers of WordNet where the other
    one has words.

    Args:
        first: names of the classes of one side, by index.
        second: those of the other side, as many.

    Example:
        >>> compare_names(["001.Blue_Jay", "002.Wren"], ["blue jay", "robin"])
        Names(same=1, moved=[], total=2)
        >>> compare_names(["wren", "jay"], ["jay", "wren, Troglodytes"])
        Names(same=0, moved=[(0, 1), (1, 0)], total=2)

    """
    if first is None or second is None or len(first) != len(second):
        return None
    sides = [[_synonyms(name) for name in names] for names in (first, second)]
    kinds = {_kind(side) for side in sides}
    if len(kinds) > 1 or "numbers" in kinds:
        return None
    same = [not a.isdisjoint(b) for a, b in zip(*sides, strict=True)]
    places: dict[str, int] = {}
    for index, synonyms in enumerate(sides[1]):
        if not same[index]:  # else the name is ambiguous, as are ImageNet's two cranes
            places |= dict.fromkeys(synonyms, index)
    moved = [
        (index, next(places[name] for name in sorted(synonyms) if name in places))
        for index, synonyms in enumerate(sides[0])
        if not same[index] and not synonyms.isdisjoint(places)
    ]
    return Names(sum(same), moved, len(same))


def differing(classifier: Sequence[str] | None, data: Sequence[str] | None) -> str | None:
    """Return how the classes of a classifier differ from those of the data set; None if unknown.

    They are the same if more than half of the names agree, because the same classes may have other
    synonyms, and if none of the others is at another index.
    """
    found = compare_names(data, classifier)
    if found is None or classifier is None or data is None:
        return None
    if found.moved:
        index, other = found.moved[0]
        return (
            f"{len(found.moved)} of {found.total} names are at another index: class {index} of the "
            f"data set, {data[index]!r}, is class {other} of the classifier"
        )
    if 2 * found.same <= found.total:
        return (
            f"{found.same} of {found.total} names agree: class 0 is {data[0]!r} in the data set "
            f"and {classifier[0]!r} in the classifier"
        )
    return None


def _synonyms(name: str) -> frozenset[str]:
    name = re.sub(rf"^\s*({SYNSET}\s+(?=\S)|\d+[.\s_-]+(?=\S))", "", name)
    words = (" ".join(re.split(r"[\s_\-]+", word.strip(" _-"))) for word in name.split(","))
    return frozenset(word.casefold() for word in words if word)


def _kind(side: Sequence[frozenset[str]]) -> str:
    for kind, form in (("numbers", r"((class|label)? ?\d+)?"), ("synsets", SYNSET)):
        if all(re.fullmatch(form, name) for synonyms in side for name in synonyms):
            return kind
    return "words"
