"""Names of the classes, and only those that are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from wsolrefine._options import check_texts, kind_of
from wsolrefine.export.records import Changed, Record, checked, detections

Names = Mapping[int, str] | Sequence[str] | None


class Used(NamedTuple):
    """Records whose classes are counted from 0 without gaps, and the names of these classes."""

    records: Iterable[Record]
    names: dict[int, str]


def check_names(names: Names) -> dict[int, str]:
    """Return the names of classes by index; empty for None.

    Raises:
        TypeError: they are something else.

    """
    if names is None:
        return {}
    if isinstance(names, Mapping):
        for label, name in names.items():
            if isinstance(label, bool) or not isinstance(label, int) or not isinstance(name, str):
                raise TypeError(
                    "names: expected class indices and names, got "
                    f"{kind_of(label)} and {kind_of(name)}"
                )
        return dict(names)
    return dict(enumerate(check_texts("names", names)))


def add_names(names: dict[int, str], record: Record) -> None:
    """Add the names of the objects of a record to those that are known."""
    for found in detections(record):
        names.setdefault(found.label, found.name)


def without_gaps(names: Mapping[int, str]) -> list[str]:
    """Return the names from class 0 to the last one; a class without a name has its number.

    Example:
        >>> without_gaps({2: "cat"})
        ['class 0', 'class 1', 'cat']

    """
    return [names.get(label, f"class {label}") for label in range(max(names, default=-1) + 1)]


def used_classes(records: Iterable[Record]) -> Used:
    """Return records whose classes are only those that have an object, counted from 0.

    A classifier of ImageNet has 1000 classes, and a data set of twelve of them should have twelve.
    The order of the classes stays the same. A class without any object becomes -1, not known.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.

    Raises:
        TypeError: ``records`` are no records.
        ValueError: two of them have the same name.

    Example:
        >>> from wsolrefine.export import Object, Record
        >>> box = (0.0, 0.0, 2.0, 2.0)
        >>> used = used_classes([Record("a.jpg", 4, 3, [Object(281, "tabby", 0.9, box)])])
        >>> used.names, [record.objects[0].label for record in used.records]
        ({0: 'tabby'}, [0])

    """
    again = list(records) if isinstance(records, Iterator) else records
    names: dict[int, str] = {}
    for record in checked(again):
        add_names(names, record)
    place = {label: number for number, label in enumerate(sorted(names))}

    def counted(record: Record) -> Record:
        objects = [one._replace(label=place.get(one.label, -1)) for one in record.objects]
        return record._replace(objects=objects)

    return Used(Changed(again, counted), {place[label]: names[label] for label in sorted(names)})
