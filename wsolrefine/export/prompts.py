"""Prompts for the Segment Anything Model: boxes and points."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from wsolrefine._options import check_count, check_number
from wsolrefine.export.folders import new_folder, write_text
from wsolrefine.export.pixels import map_of, mask_of
from wsolrefine.export.records import Mask, Object, Record, checked, detections

Points = list[list[int]]
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
    the object has no map, there is one point, the deepest inside the mask. Points on the background
    are spread over the pixels where the maps of all classes are below ``background``, as far as
    possible from the points before them. They need maps.

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
        ([1, 0, 2, 0], [[1, 0], [3, 0]], [1, 0])

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
    known = [map for map in maps.values() if map is not None]
    result = []
    for found in several:
        mask, map = mask_of(found, record), maps[id(found)]
        inside = [] if mask is None else points_inside(mask, map, points)
        outside: Points = []
        if known and len(known) == len(record.objects):
            free = np.maximum.reduce(known) < background
            if mask is not None:
                free &= ~mask
            outside = spread_points(free, inside or [_center(found)], negatives)
        x0, y0, x1, y1 = found.box or (0.0, 0.0, 0.0, 0.0)
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


def points_inside(mask: Mask, map: npt.NDArray[np.float32] | None, number: int) -> Points:
    """Return ``x y`` of the highest local maxima of a map inside a mask, at most ``number``.

    A local maximum is the highest in the square around it whose side is an eighth of the longer
    side of the box; of equal ones the one deepest inside the mask comes first. Without a map: the
    pixel deepest inside the mask.

    Example:
        >>> import numpy as np
        >>> points_inside(np.array([[True, True, True]]), None, 2)
        [[1, 0]]

    """
    from scipy import ndimage

    if not number or not mask.any():
        return []
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    if map is None:
        rows, columns = np.nonzero(depth == depth.max())
        middle = np.abs(rows - rows.mean()) + np.abs(columns - columns.mean())
        place = int(middle.argmin())
        return [[int(columns[place]), int(rows[place])]]
    rows, columns = np.nonzero(mask)
    radius = max(1, int(max(np.ptp(rows), np.ptp(columns)) + 1) // 16)
    inside = np.where(mask, map, -np.inf)
    highest = ndimage.maximum_filter(inside, size=2 * radius + 1, mode="nearest")
    rows, columns = np.nonzero(mask & (inside >= highest))
    order = np.lexsort((-depth[rows, columns], -inside[rows, columns]))
    chosen: Points = []
    for place in order:
        x, y = int(columns[place]), int(rows[place])
        if all(max(abs(x - a), abs(y - b)) > radius for a, b in chosen):  # of a plateau one
            chosen.append([x, y])
        if len(chosen) == number:
            break
    return chosen


def spread_points(free: Mask, taken: Points, number: int) -> Points:
    """Return ``x y`` of pixels that are free, each as far as possible from all before it.

    Example:
        >>> import numpy as np
        >>> spread_points(np.array([[True, False, False, True, True]]), [[1, 0]], 2)
        [[4, 0], [0, 0]]

    """
    rows, columns = np.nonzero(free)
    chosen: Points = []
    nearest = np.full(len(rows), np.inf)
    for x, y in taken:
        nearest = np.minimum(nearest, (columns - x) ** 2 + (rows - y) ** 2)
    while len(chosen) < number and len(rows) and nearest.max() > 0:
        place = int(nearest.argmax())
        x, y = int(columns[place]), int(rows[place])
        chosen.append([x, y])
        nearest = np.minimum(nearest, (columns - x) ** 2 + (rows - y) ** 2)
    return chosen


def _center(found: Object) -> list[int]:
    x0, y0, x1, y1 = found.box or (0.0, 0.0, 0.0, 0.0)
    return [int(x0 + x1) // 2, int(y0 + y1) // 2]
