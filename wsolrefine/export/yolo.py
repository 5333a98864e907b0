"""YOLO: a text file beside each image."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike

from wsolrefine._options import check_flag, check_number
from wsolrefine._shards import hash_of
from wsolrefine.export.folders import (
    Images,
    Stems,
    check_images,
    new_folder,
    place_image,
    suffix_of,
    write_text,
)
from wsolrefine.export.names import Names, add_names, check_names, without_gaps
from wsolrefine.export.pixels import mask_of
from wsolrefine.export.polygons import one_polygon
from wsolrefine.export.records import Object, Record, checked, detections


def write_yolo(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    names: Names = None,
    images: Images = "link",
    segments: bool = False,
    tolerance: float = 1.0,
    validation: float = 0.0,
) -> None:
    r"""Write a data set for YOLO: ``data.yaml``, ``images/train`` and ``labels/train``.

    A line is ``class x y width height``, with the center of the box, or ``class x1 y1 x2 y2 ...``,
    a polygon; all divided by the size of the image, whose left edge is 0 and right edge 1. There
    are no scores. An image without objects has an empty file: an image of background.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        names: names of the classes, by index; None: those of the objects.
        images: ``"link"``, ``"copy"`` or ``"none"``.
        segments: polygons instead of boxes. The components of a mask are joined by lines, because a
            line of the file is one object.
        tolerance: how far in pixels polygons may be from the outline of the mask; 0: exact.
        validation: share of the images in [0, 1) that goes to ``images/val`` and ``labels/val``,
            chosen by a hash of the name; 0: the images of validation are those of training.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, an option is out of range, or an object has
            no mask where polygons are asked for.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 8, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_yolo([record], Path(folder) / "set", images="none")
        ...     (Path(folder) / "set/labels/train/a.txt").read_text()
        '0 0.5 0.125 0.5 0.25\n'

    """
    known, how = check_names(names), check_images(images)
    check_flag("segments", segments)
    tolerance = check_number("tolerance", tolerance, low=0)
    validation = check_number("validation", validation, low=0, below=1)
    found, stems = checked(records), Stems()
    with new_folder(out) as folder:
        (folder / "labels/train").mkdir(parents=True)
        for record in found:
            add_names(known, record)
            stem = stems.of(record)
            part = "val" if hash_of(record.name) < validation * 2**64 else "train"
            place_image(record, folder / "images" / part / f"{stem}{suffix_of(record)}", how)
            lines = [
                _segment(one, record, tolerance) if segments else _box(one, record)
                for one in detections(record)
            ]
            write_text(folder / "labels" / part / f"{stem}.txt", "".join(lines))
        listed = "".join(
            f"  {label}: {json.dumps(name)}\n" for label, name in enumerate(without_gaps(known))
        )
        val = "images/val" if validation else "images/train"
        text = f"train: images/train\nval: {val}\nnames:\n{listed}" if listed else "names: {}\n"
        write_text(folder / "data.yaml", text)


def _box(found: Object, record: Record) -> str:
    x0, y0, x1, y1 = found.box or (0.0, 0.0, 0.0, 0.0)
    width, height = record.width, record.height
    values = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height
    return _line(found.label, values)


def _segment(found: Object, record: Record, tolerance: float) -> str:
    mask = mask_of(found, record)
    ring = None if mask is None else one_polygon(mask, tolerance)
    if ring is None:
        raise ValueError(f"records: expected masks, got an object without in {record.name!r}")
    return _line(found.label, (ring / (record.width, record.height)).ravel().tolist())


def _line(label: int, values: Iterable[float]) -> str:
    return " ".join([str(label), *(f"{value:.8g}" for value in values)]) + "\n"
