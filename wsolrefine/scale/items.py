"""The images of a data set, as its source lists them."""

from __future__ import annotations

from typing import NamedTuple


class Item(NamedTuple):
    """An image, or a file that holds several (a tar, a row group of a Parquet file).

    Attributes:
        id: what tells it from all others, the same in every run.
        path: a file, or an address of fsspec.
        labels: the classes that the source names, as ``--classes`` takes them; None: it names none.
        categories: the source's own numbers of these classes; None: it has none.

    """

    id: str | int
    path: str
    labels: tuple[str, ...] | None = None
    categories: tuple[int, ...] | None = None


class Task(NamedTuple):
    """What one call of a worker does: some images of one part of the results.

    Attributes:
        part: number of the part.
        first: number of its first batch within the part.
        batches: how many batches the whole part has; None: only who reads it knows.
        items: the images.

    """

    part: int
    first: int
    batches: int | None
    items: list[Item]


def texts(label: object) -> tuple[str, ...] | None:
    """Return the labels of a source as ``--classes`` takes them.

    Example:
        >>> texts(3), texts("wren"), texts([3, 4]), texts(None)
        (('index:3',), ('wren',), ('index:3', 'index:4'), None)

    """
    if label is None:
        return None
    several = label if isinstance(label, list | tuple) else [label]
    return tuple(dict.fromkeys(n if isinstance(n, str) else f"index:{n}" for n in several))
