"""What every format is written from: images with their objects, one record for each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wsolrefine._options import kind_of

Box = tuple[float, float, float, float]
Mask = npt.NDArray[np.bool_]


class RunLengths(NamedTuple):
    """A mask as the run lengths of COCO.

    Attributes:
        counts: their compressed text.
        size: (height, width) of the mask.

    """

    counts: str
    size: tuple[int, int]


class Object(NamedTuple):
    """An object in an image, or a class of which the image has no object: box and mask are None.

    Attributes:
        label: class index; -1 if it is not known, as for an empty mask of ``wsolrefine refine``.
        name: name of the class.
        score: how probable it is, in [0, 1]; None if that is not known.
        box: half-open ``x0 y0 x1 y1`` in pixels of the image: the last pixel is ``x1 - 1``. None if
            there is no object, and then no format has a detection.
        mask: run lengths, or a bool array ``(height, width)``; None if there is none.
        map: heatmap of the class in [0, 1], on any grid: an array ``(h, w)``, or the path of a gray
            PNG; None if there is none.

    """

    label: int
    name: str
    score: float | None = None
    box: Box | None = None
    mask: RunLengths | Mask | None = None
    map: npt.NDArray[Any] | str | PathLike[str] | None = None


class Record(NamedTuple):
    """An image and what is in it.

    Attributes:
        name: name of the image in the data set, a relative path with ``/``; it tells images apart.
        width: of the image, in pixels.
        height: of the image, in pixels.
        objects: what is in it.
        image: path of its file; None if there is none on this machine.
        id: its number, for formats with numbers; None: counted from 1.

    """

    name: str
    width: int
    height: int
    objects: Sequence[Object] = ()
    image: str | PathLike[str] | None = None
    id: int | None = None


def detections(record: Record) -> list[Object]:
    """Return the objects of a record that have a box and a class.

    Example:
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat"), Object(1, "dog", 0.5, (0, 0, 2, 2))])
        >>> [found.name for found in detections(record)]
        ['dog']

    """
    return [found for found in record.objects if found.box is not None and found.label >= 0]


def checked(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records, or raise where one is something else, or two have the same name.

    Raises:
        TypeError: ``records`` are no records.
        ValueError: two have the same name.

    """
    if isinstance(records, Record) or not isinstance(records, Iterable):
        raise TypeError(f"records: expected several Record, got {kind_of(records)}")
    return _each(records)


def _each(records: Iterable[Record]) -> Iterator[Record]:
    seen: set[str] = set()
    for number, record in enumerate(records):
        if not isinstance(record, Record):
            raise TypeError(f"records[{number}]: expected Record, got {kind_of(record)}")
        if record.name in seen:
            raise ValueError(f"records[{number}]: expected a name of its own, got {record.name!r}")
        seen.add(record.name)
        yield record


class Changed:
    """Records, each changed by a function when it is needed: not all are in memory at once.

    Args:
        records: the records; an iterator is read at once.
        change: returns another record.

    Example:
        >>> wide = Changed([Record("a.jpg", 4, 3)], lambda record: record._replace(width=9))
        >>> [record.width for record in wide], [record.width for record in wide]
        ([9], [9])

    """

    def __init__(self, records: Iterable[Record], change: Callable[[Record], Record]) -> None:
        self._records = list(records) if isinstance(records, Iterator) else records
        self._change = change

    def __iter__(self) -> Iterator[Record]:
        """Yield the changed records."""
        return map(self._change, checked(self._records))
