"""Prompts for the Segment Anything Model: boxes and points."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike, fspath
from typing import Any

import numpy as np

from wsolrefine._options import check_count, check_number
from wsolrefine.export.folders import new_folder, write_text
from wsolrefine.export.pixels import map_of, mask_of
from wsolrefine.export.points import Points, points_around, points_inside
from wsolrefine.export.records import Record, checked, detections

FILE = "prompts.json"


def write_sam(
    records: Iterable[Record],
    out: str | PathLike[str],
    *,
    points: int = 3,
    negatives: int = 3,
    background: float = 0.1,
) -> None:
    """Write ``prompts.json`` for SAM: a box, points on the object and points on the background.

    It is a list of images, each with ``image``, ``width``, ``height`` and ``prompts``; a prompt
    has ``label``, ``name``, ``score``, ``box``, ``point_coords`` and ``point_labels`` (1 object, 0
    background), as ``SamPredictor.predict`` takes them. Points are ``x y``, numbers of pixels from
    0. The box has the last pixel as its corner, ``x1 - 1`` and ``y1 - 1``: SAM adds half a pixel to
    points and corners alike.

    Points on the object are at the local maxima of its map inside the mask, the highest first; if
    the object has no map, there is one point, the deepest inside the mask.

    Points on the background are around the object, where the background is confident: the maps of
    all classes are below ``background``, and no object of the image has a mask there. Of these
    pixels, those count whose distance from the box is at most that of the nearest one plus a
    quarter of the box's longer side. Points keep a sixteenth of that side from the edges of this
    area and of the image, or as much as the area allows. The first one is where the maps are
    lowest, and each of the others as far as possible from those before it. They need maps.

    Args:
        records: of :func:`wsolrefine.export.records_of` or :func:`wsolrefine.export.read_results`.
        out: a new or empty folder.
        points: at most so many points on each object.
        negatives: at most so many points on the background.
        background: value of a map below which a pixel is background.

    Raises:
        OSError: something cannot be read or written.
        TypeError: an argument is of another kind.
        ValueError: ``out`` is no new or empty folder, or an option is out of range.

    Example:
        >>> import json, tempfile
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from wsolrefine.export import Object, Record
        >>> map = np.array([[0.0, 0.9, 0.6, 0.0]])
        >>> cat = Object(0, "cat", 0.5, (1, 0, 3, 1), map > 0.5, map)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_sam([Record("a.jpg", 4, 1, [cat])], Path(folder) / "sam", negatives=1)
        ...     found = json.loads((Path(folder) / "sam/prompts.json").read_text())
        >>> prompt = found[0]["prompts"][0]
        >>> prompt["box"], prompt["point_coords"], prompt["point_labels"]
        ([1, 0, 2, 0], [[1, 0], [0, 0]], [1, 0])

    Reference:
        Kirillov et al., "Segment Anything", ICCV 2023.

    """
    check_count("points", points, low=0)
    check_count("negatives", negatives, low=0)
    background = check_number("background", background, low=0, high=1)
    found = checked(records)
    with new_folder(out) as folder:
        lines = []
        for record in found:
            image = record.name if record.image is None else fspath(record.image)
            size = {"width": record.width, "height": record.height}
            prompts = _prompts(record, points, negatives, background)
            entry = {"name": record.name, "image": image, **size, "prompts": prompts}
            lines.append(json.dumps(entry, allow_nan=False))
        write_text(folder / FILE, "[\n" + ",\n".join(lines) + "\n]\n")


def _prompts(
    record: Record, points: int, negatives: int, background: float
) -> list[dict[str, Any]]:
    several = detections(record)
    if not several:
        return []
    maps = {id(one): map_of(one, record) for one in record.objects}
    masks = {id(one): mask_of(one, record) for one in record.objects}
    known = [map for map in maps.values() if map is not None]
    highest = free = None
    if known and negatives and len(known) == len(maps):
        highest = np.stack(known).max(axis=0)
        free = highest < background
        for mask in masks.values():
            free = free if mask is None else free & ~mask
    result = []
    for found in several:
        mask, map = masks[id(found)], maps[id(found)]
        inside = [] if mask is None else points_inside(mask, map, points)
        x0, y0, x1, y1 = box = found.box or (0.0, 0.0, 0.0, 0.0)
        outside: Points = []
        if highest is not None and free is not None:
            outside = points_around(box, highest, free, negatives)
        result.append(
            {
                "label": found.label,
                "name": found.name,
                "score": found.score,
                "box": [x0, y0, x1 - 1, y1 - 1],
                "point_coords": inside + outside,
                "point_labels": [1] * len(inside) + [0] * len(outside),
            }
        )
    return result
