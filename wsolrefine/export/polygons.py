"""Masks as polygons, on the edges of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wsolrefine.export.records import Mask
from wsolrefine.functional._opencv import opencv

Points = npt.NDArray[np.float64]


def polygons(mask: Mask, tolerance: float = 1.0) -> list[Points]:
    """Return a polygon ``(n, 2)`` of ``x y`` for each 8-connected component, the largest first.

    Corners are on the edges of pixels, where (0, 0) is the upper left of the first one: with a
    tolerance of 0 the polygon holds just the pixels of the mask. A hole is joined to the outline
    around it by a line that leads there and back, so that filling the polygon leaves it open.

    Args:
        mask: bool, ``(H, W)``.
        tolerance: how far in pixels the outline may be from that of the mask.

    Example:
        >>> import numpy as np
        >>> polygons(np.array([[False, True, True]]), 0)[0].tolist()
        [[1.0, 0.0], [1.0, 1.0], [3.0, 1.0], [3.0, 0.0]]

    """
    cv2 = opencv("polygons")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    # Pixel i becomes 2i and 2i + 1, whose borders are i and i + 1 in the pixels of the mask.
    double = np.pad(part.repeat(2, 0).repeat(2, 1), 1)
    found, tree = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    origin = np.array([left, top])
    outlines = [_corners(one) + origin for one in found]
    result = []
    for number, (_, _, hole, parent) in enumerate(tree[0]):
        if parent >= 0:  # a hole, which belongs to the outline around it
            continue
        ring = _simplified(cv2, outlines[number], tolerance)
        while hole >= 0:
            ring = joined(ring, _simplified(cv2, outlines[hole], tolerance))
            hole = tree[0][hole][0]
        result.append((cv2.contourArea(outlines[number].astype(np.float32)), ring))
    return [ring for _, ring in sorted(result, key=lambda pair: -pair[0])]


def one_polygon(mask: Mask, tolerance: float = 1.0) -> Points | None:
    """Return all components of a mask as one polygon, joined by lines; None if it is empty.

    Example:
        >>> import numpy as np
        >>> len(one_polygon(np.array([[True, False, True]]), 0))
        10

    """
    ring: Points | None = None
    for other in polygons(mask, tolerance):
        ring = other if ring is None else joined(ring, other)
    return ring


def joined(ring: Points, other: Points) -> Points:
    """Return two polygons as one: from the first to the nearest corner of the other, and back."""
    distances = ((ring[:, None] - other[None]) ** 2).sum(-1)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    around = np.concatenate([other[j:], other[: j + 1]])
    return np.concatenate([ring[: i + 1], around, ring[i:]])


def _corners(contour: Any) -> Points:
    """Return the corners of a contour of the doubled mask in the pixels of the mask."""
    points = (contour[:, 0].astype(np.int64) - 1 + 1) // 2  # less the margin; then the border
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return np.asarray(points[(before != after).any(1)], dtype=np.float64)


def _simplified(cv2: Any, ring: Points, tolerance: float) -> Points:
    if not tolerance:
        return ring
    origin = ring.min(0)  # 32 bits hold fractions of large numbers less exactly
    fewer = cv2.approxPolyDP((ring - origin).astype(np.float32)[:, None], tolerance, True)
    return fewer[:, 0].astype(np.float64) + origin if len(fewer) > 2 else ring
