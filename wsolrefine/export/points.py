"""Points on an object and on the background around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsolrefine.export.records import Box, Mask

Points = list[list[int]]
"""``x y`` of pixels, counted from 0."""


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


def points_around(box: Box, highest: npt.NDArray[np.float32], free: Mask, number: int) -> Points:
    """Return ``x y`` of background around a box: inside the free pixels near it, spread.

    Args:
        box: half-open ``x0 y0 x1 y1``.
        highest: the highest value of all maps at each pixel, ``(height, width)``.
        free: which pixels are confident background.
        number: at most so many points.

    Example:
        >>> import numpy as np
        >>> map = np.array([[0.1, 0.0, 0.1, 0.2, 0.9, 0.9, 0.2, 0.1]])
        >>> points_around((4, 0, 6, 1), map, map < 0.3, 2)
        [[2, 0], [7, 0]]

    """
    if not number or not free.any():
        return []
    x0, y0, x1, y1 = box
    across, down = (
        np.maximum(np.maximum(low - np.arange(size), np.arange(size) - (high - 1)), 0)
        for low, high, size in ((x0, x1, free.shape[1]), (y0, y1, free.shape[0]))
    )
    distance = np.hypot(across, down[:, None])
    reach = max(1.0, max(x1 - x0, y1 - y0) / 4)
    near = free & (distance <= distance[free].min() + reach)
    rows, columns = np.nonzero(inner(near, reach / 4))
    chosen: Points = []
    place = int(np.argmin(highest[rows, columns]))
    apart = np.full(len(rows), np.inf)
    while len(chosen) < number and apart.max() > 0:
        x, y = int(columns[place]), int(rows[place])
        chosen.append([x, y])
        apart = np.minimum(apart, (columns - x) ** 2 + (rows - y) ** 2)
        place = int(apart.argmax())
    return chosen


def inner(area: Mask, margin: float) -> Mask:
    """Return the pixels of an area at least ``margin`` from what is not, or else the deepest ones.

    What is beyond the edges of the image is not the area.

    Example:
        >>> import numpy as np
        >>> inner(np.ones((3, 5), dtype=bool), 9).astype(int).tolist()
        [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]

    """
    from scipy import ndimage

    rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))  # the rest is empty
    depth = ndimage.distance_transform_edt(np.pad(area[part], 1))[1:-1, 1:-1]
    result = np.zeros_like(area)
    result[part] = depth >= min(margin, depth.max())
    return result & area
