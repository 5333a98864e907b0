"""COCO: a data set in one file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from wsolrefine._options import check_flag, check_number
from wsolrefine.export.folders import (
    Images,
    Stems,
    check_images,
    new_folder,
    place_image,
    suffix_of,
)
from wsolrefine.export.names import Names, add_names, check_names
from wsolrefine.export.pixels import area_of, mask_of, run_lengths_of
from wsolrefine.export.polygons import polygons as polygons_of
from wsolrefine.export.records import Object, Record, checked, detections

FILE = "annotations.json"


def write_coco(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    names: Names = None,
    images: Images = "link",
    polygons: bool = False,
    tolerance: float = 1.0,
) -> None:
    """Write a data set in COCO format: ``annotations.json``, and the images in ``images/``.

    Boxes are ``x y width height`` in pixels, from the upper left of the first pixel to the lower
    right of the last. Masks are run lengths with ``iscrowd`` 0, which pycocotools, FiftyOne,
    MMDetection and supervision read; Detectron2 wants ``INPUT.MASK_FORMAT = "bitmask"``.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        names: names of the classes, by index; None: those of the objects.
        images: ``"link"``, ``"copy"`` or ``"none"``.
        polygons: whether masks are polygons, for readers without run lengths. A hole is left open
            by a line that leads there and back.
        tolerance: how far in pixels polygons may be from the outline of the mask; 0: exact.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, an option is out of range, or a record is not
            as it should be.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> record = Record("a.jpg", 4, 3, [Object(0, "cat", 0.5, (1, 0, 3, 2))])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_coco([record], Path(folder) / "coco", images="none")
        ...     found = json.loads((Path(folder) / "coco/annotations.json").read_text())
        >>> found["annotations"][0]["bbox"], found["categories"]
        ([1, 0, 2, 2], [{'id': 0, 'name': 'cat'}])

    Reference:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.

    """
    known, how = check_names(names), check_images(images)
    check_flag("polygons", polygons)
    tolerance = check_number("tolerance", tolerance, low=0)
    found, stems = checked(records), Stems()
    with new_folder(out) as folder:
        listed: list[str] = []
        annotations: list[str] = []
        for number, record in enumerate(found, 1):
            identity = number if record.id is None else record.id
            add_names(known, record)
            stem = stems.of(record)
            file_name = record.name if how == "none" else f"{stem}{suffix_of(record)}"
            place_image(record, folder / "images" / file_name, how)
            size = {"width": record.width, "height": record.height}
            listed.append(_json({"id": identity, "file_name": file_name, **size}))
            for one in detections(record):
                entry = annotation(one, record, tolerance if polygons else None)
                ids = {"id": len(annotations) + 1, "image_id": identity}
                annotations.append(_json({**ids, **entry}))
        categories = [{"id": label, "name": known[label]} for label in sorted(known)]
        _write(folder / FILE, listed, annotations, categories)


def annotation(found: Object, record: Record, tolerance: float | None = None) -> dict[str, Any]:
    """Return the annotation of an object, without its ids.

    Args:
        found: the object, with a box.
        record: its image.
        tolerance: of polygons; None: run lengths.

    """
    entry: dict[str, Any] = {"category_id": found.label, "bbox": box_of(found), "iscrowd": 0}
    runs = run_lengths_of(found, record)
    entry["area"] = area_of(runs) if runs else entry["bbox"][2] * entry["bbox"][3]
    if runs and tolerance is None:
        entry["segmentation"] = {"size": list(runs.size), "counts": runs.counts}
    elif (mask := mask_of(found, record)) is not None and tolerance is not None:
        rings = polygons_of(mask, tolerance)
        entry["segmentation"] = [ring.ravel().tolist() for ring in rings]
    if found.score is not None:
        entry["score"] = round(found.score, 6)
    return entry


def box_of(found: Object) -> list[float]:
    """Return a box as ``x y width height``.

    Example:
        >>> box_of(Object(0, "cat", 0.5, (1.0, 0.0, 3.0, 2.0)))
        [1.0, 0.0, 2.0, 2.0]

    """
    if found.box is None:
        raise ValueError("records: expected an object with a box, got none")
    x0, y0, x1, y1 = found.box
    return [x0, y0, x1 - x0, y1 - y0]


def _write(path: Path, images: list[str], annotations: list[str], categories: Any) -> None:
    """Write the file with a line for each image and annotation."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write('{"info": {"description": "masks and boxes by wsolrefine"},\n')
        file.write('"licenses": [],\n"images": [\n')  # Roboflow's upload fails without the key
        file.write(",\n".join(images))
        file.write('\n],\n"annotations": [\n')
        file.write(",\n".join(annotations))
        file.write(f'\n],\n"categories": {_json(categories)}}}\n')


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False)
