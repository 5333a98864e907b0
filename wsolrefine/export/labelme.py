"""labelme: a JSON file beside each image."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import PurePosixPath
from typing import Any

from wsolrefine._options import check_number
from wsolrefine.export.folders import (
    Images,
    Stems,
    check_images,
    new_folder,
    place_image,
    suffix_of,
    write_text,
)
from wsolrefine.export.pixels import mask_of
from wsolrefine.export.polygons import polygons
from wsolrefine.export.records import Record, checked, detections

VERSION = "5.4.1"
"""The version of labelme whose format this is."""


def write_labelme(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    images: Images = "link",
    tolerance: float = 1.0,
) -> None:
    """Write a JSON file of labelme for each image, with the images beside them.

    A mask is a polygon for each component, and those of one object have the same ``group_id``; an
    object without a mask is a rectangle. Points are in pixels, with (0, 0) at the upper left of the
    first one. The score is in ``description``.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        images: ``"link"``, ``"copy"`` or ``"none"``; then the files name images beside them that
            are not there.
        tolerance: how far in pixels polygons may be from the outline of the mask; 0: exact.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, or an option is out of range.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_labelme([record], Path(folder) / "set", images="none")
        ...     found = json.loads((Path(folder) / "set/a.json").read_text())
        >>> found["shapes"][0]["shape_type"], found["shapes"][0]["points"]
        ('rectangle', [[1, 0], [3, 2]])

    """
    how, tolerance = check_images(images), check_number("tolerance", tolerance, low=0)
    found, stems = checked(records), Stems()
    with new_folder(out) as folder:
        for record in found:
            stem = stems.of(record)
            file = f"{stem}{suffix_of(record)}"
            place_image(record, folder / file, how)
            content: dict[str, Any] = {
                "version": VERSION,
                "flags": {},
                "shapes": _shapes(record, tolerance),
                "imagePath": PurePosixPath(file).name,
                "imageData": None,
                "imageHeight": record.height,
                "imageWidth": record.width,
            }
            text = json.dumps(content, indent=1, allow_nan=False)
            write_text(folder / f"{stem}.json", f"{text}\n")


def _shapes(record: Record, tolerance: float) -> list[dict[str, Any]]:
    shapes = []
    for number, found in enumerate(detections(record)):
        mask = mask_of(found, record)
        rings = [] if mask is None else [ring.tolist() for ring in polygons(mask, tolerance)]
        known: dict[str, Any] = {
            "label": found.name,
            "group_id": number if len(rings) > 1 else None,
            "description": "" if found.score is None else f"score {found.score:.4f}",
            "flags": {},
        }
        shapes += [{**known, "shape_type": "polygon", "points": ring} for ring in rings]
        if mask is None and found.box is not None:
            x0, y0, x1, y1 = found.box
            points = [[x0, y0], [x1, y1]]
            shapes.append({**known, "shape_type": "rectangle", "points": points})
    return shapes
