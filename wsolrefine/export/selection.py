"""Only those objects that an image has by its labels, and that are probable enough."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from wsolrefine._options import check_number, kind_of
from wsolrefine.export.records import Changed, Object, Record


def select_objects(
    records: Iterable[Record],
    *,
    labels: Mapping[str, Collection[int]] | None = None,
    min_score: float = 0.0,
) -> Iterable[Record]:
    """Return records with only some of their objects, each made when it is needed.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        labels: class indices of each image by its name; objects of other classes, and their maps,
            are left out. None: all classes.
        min_score: objects with a lower score are no detections; their maps stay.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: ``min_score`` is out of range; or, when the records are read, ``labels`` has no
            image of a name.

    Example:
        >>> from wsolrefine.export import Object, Record
        >>> box = (0.0, 0.0, 2.0, 2.0)
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat", 0.9, box), Object(1, "dog", 0.1, box)])
        >>> [len(one.objects) for one in select_objects([record], labels={"a.jpg": [1]})]
        [1]

    """
    if labels is not None and not isinstance(labels, Mapping):
        raise TypeError(f"labels: expected class indices by name, got {kind_of(labels)}")
    check_number("min_score", min_score, low=0, high=1)

    def select(record: Record) -> Record:
        objects: Any = record.objects
        if labels is not None:
            if record.name not in labels:
                raise ValueError(f"labels: expected an image {record.name!r}, got none")
            own = {*labels[record.name], -1}
            objects = [found for found in objects if found.label in own]
        return record._replace(objects=[_if_probable(found, min_score) for found in objects])

    return Changed(records, select)


def _if_probable(found: Object, min_score: float) -> Object:
    if found.score is None or found.score >= min_score:
        return found
    return found._replace(box=None, mask=None)
