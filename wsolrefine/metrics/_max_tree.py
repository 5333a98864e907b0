"""All components of a gray map at all thresholds, in one pass over its pixels (compiled by numba).

Pixels are added from the brightest to the darkest and joined to the sets around them. A set that
meets a darker pixel was a component, unchanged, at all thresholds between the two levels: it is
recorded with its box, and grows on as a new one. Salembier, Oliveras and Garrido, "Antiextensive
Connected Operators", 1998, call the result a max-tree; Najman and Couprie, 2006, build it this way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

# The neighbors of a pixel, clockwise from above: (row, column). Those at a corner are odd.
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
# What is kept of a set of pixels while it grows.
_LEFT, _TOP, _RIGHT, _BOTTOM, _AREA, _EULER, _LEVEL, _PIXELS = range(8)


def _representatives(connectivity: int) -> npt.NDArray[np.int8]:
    """Return, for each set of neighbors as bits, one neighbor from each connected component.

    Neighbors that touch each other are in one set already: one look-up per component is enough.
    A row ends with -1.
    """
    table = np.full((256, 5), -1, np.int8)
    reach = 2 if connectivity == 8 else 1
    for bits in range(256):
        waiting = [i for i in range(8) if bits >> i & 1]
        asked = 0
        while waiting:
            component = [waiting.pop(0)]
            for member in component:  # grows during the loop
                row, column = _RING[member]
                for i in tuple(waiting):
                    down, right = abs(_RING[i][0] - row), abs(_RING[i][1] - column)
                    if max(down, right) == 1 and down + right <= reach:
                        waiting.remove(i)
                        component.append(i)
            joined = [i for i in component if connectivity == 8 or i % 2 == 0]
            if joined:
                table[bits, asked] = joined[0]
                asked += 1
    return table


def _changes() -> npt.NDArray[np.int8]:
    """Return, for each set of neighbors as bits, what a new pixel changes in its 2x2 squares.

    First, twice the area of the polygon through pixel centers: a square with three pixels adds half
    a unit to it, one with four a whole unit. Second, four times the Euler number (components minus
    holes): Gray, "Local Properties of Binary Images", 1971, counts squares with one pixel, minus
    those with three, minus twice those with two on a diagonal.
    """
    table = np.zeros((256, 2), np.int8)
    for bits in range(256):
        for corner in (1, 3, 5, 7):
            opposite = bits >> corner & 1
            count = opposite + (bits >> corner - 1 & 1) + (bits >> (corner + 1) % 8 & 1)
            table[bits, 0] += count >= 2
            table[bits, 1] += (1, -3 if opposite else -1, -1 if opposite else 1, 1)[count]
    return table


JOIN_8, JOIN_4 = _representatives(8), _representatives(4)
_CHANGES = _changes()


@njit(cache=True, nogil=True)
def components(gray: npt.NDArray[np.uint8], join: npt.NDArray[np.int8]) -> Any:
    """Return a row for every component of ``gray > t`` at any threshold t.

    Columns: low and high (it exists for low <= t < high), its first and last column and row as x0,
    y0, x1, y1, and with ``JOIN_8`` twice the polygon area of its pixels, and whether it has holes.
    """
    height, width = gray.shape
    stride = width + 2  # one pixel of margin, which never joins
    step = np.array([row * stride + column for row, column in _RING])
    owner = np.full((height + 2) * stride, -1, np.int32)  # the set of each pixel, -1: not added yet
    most = (height * width + 1) // 2  # no two sets begin at neighboring pixels
    parent = np.empty(most, np.int32)  # of each set: the one that it was joined to, or itself
    sets = np.empty((most, 8), np.int32)
    rows = np.empty((height * width, 8), np.int32)
    begun = found = 0
    for pixel in _brightest_first(gray):
        row, column = pixel // stride - 1, pixel % stride - 1
        level = gray[row, column]
        bits = 0
        for i in range(8):
            if owner[pixel + step[i]] >= 0:
                bits |= 1 << i
        root = -1
        for i in join[bits]:
            if i < 0:
                break
            other = _root(parent, owner[pixel + step[i]])
            if other == root:
                continue
            if sets[other, _LEVEL] > level:
                _note(rows[found], sets[other], level)
                found += 1
                sets[other, _LEVEL] = level
            if root < 0:
                root = other
                continue
            if sets[other, _PIXELS] > sets[root, _PIXELS]:
                root, other = other, root
            parent[other] = root
            _merge(sets[root], sets[other])
        if root < 0:
            root = parent[begun] = begun
            _begin(sets[root], column, row, level)
            begun += 1
        else:
            _add(sets[root], column, row)
        owner[pixel] = root
        sets[root, _AREA] += _CHANGES[bits, 0]
        sets[root, _EULER] += _CHANGES[bits, 1]
    for root in range(begun):  # sets that have met no darker pixel
        if parent[root] == root:
            _note(rows[found], sets[root], 0)
            found += 1
    return rows[:found]


@njit(cache=True, nogil=True)
def _brightest_first(gray: Any) -> Any:
    """Return the pixels above zero by descending level, as indices into a map with a margin."""
    height, width = gray.shape
    start = np.zeros(257, np.int32)  # of each level, among the brighter ones
    for y in range(height):
        for x in range(width):
            start[255 - gray[y, x] + 1] += 1
    start = np.cumsum(start)
    order = np.empty(start[255], np.int32)
    for y in range(height):
        for x in range(width):
            level = gray[y, x]
            if level > 0:
                order[start[255 - level]] = (y + 1) * (width + 2) + x + 1
                start[255 - level] += 1
    return order


@njit(cache=True, nogil=True, inline="always")
def _root(parent: Any, member: Any) -> Any:
    while parent[member] != member:
        parent[member] = parent[parent[member]]  # path halving
        member = parent[member]
    return member


@njit(cache=True, nogil=True, inline="always")
def _begin(new: Any, column: Any, row: Any, level: Any) -> None:
    new[_LEFT] = new[_RIGHT] = column
    new[_TOP] = new[_BOTTOM] = row
    new[_AREA] = new[_EULER] = 0
    new[_LEVEL] = level
    new[_PIXELS] = 1


@njit(cache=True, nogil=True, inline="always")
def _add(kept: Any, column: Any, row: Any) -> None:
    kept[_LEFT] = min(kept[_LEFT], column)
    kept[_TOP] = min(kept[_TOP], row)
    kept[_RIGHT] = max(kept[_RIGHT], column)
    kept[_BOTTOM] = max(kept[_BOTTOM], row)
    kept[_PIXELS] += 1


@njit(cache=True, nogil=True, inline="always")
def _merge(kept: Any, other: Any) -> None:
    kept[_LEFT] = min(kept[_LEFT], other[_LEFT])
    kept[_TOP] = min(kept[_TOP], other[_TOP])
    kept[_RIGHT] = max(kept[_RIGHT], other[_RIGHT])
    kept[_BOTTOM] = max(kept[_BOTTOM], other[_BOTTOM])
    kept[_AREA] += other[_AREA]
    kept[_EULER] += other[_EULER]
    kept[_PIXELS] += other[_PIXELS]


@njit(cache=True, nogil=True, inline="always")
def _note(row: Any, ended: Any, low: Any) -> None:
    row[0], row[1] = low, ended[_LEVEL]
    row[2:6] = ended[:4]
    row[6], row[7] = ended[_AREA], ended[_EULER] != 4


@njit(cache=True, nogil=True)
def raise_to(best: Any, rows: Any, ious: Any) -> None:
    """Raise the best value of every threshold to that of each component that exists there."""
    for i in range(len(rows)):
        for cut in range(rows[i, 0], rows[i, 1]):
            best[cut] = max(best[cut], ious[i])


@njit(cache=True, nogil=True)
def largest(rows: Any) -> Any:
    """Return for every threshold the component with the largest contour, -1 if not certain.

    Without holes the polygon of the contour has the area of the component's squares. Holes add to
    it, up to the area of the box. The result is -1 if this leaves open which one is largest, if
    areas are equal and the order of the contours decides, or if a hole may have the same contour as
    its component, which then has no area of its own.
    """
    first = np.full(256, -1, np.int32)
    least = np.full(256, -1, np.int32)  # the area that the first has for certain
    others = np.full(256, -1, np.int32)  # the most that any other may have
    for i in range(len(rows)):
        low, high, area = rows[i, 0], rows[i, 1], rows[i, 6]
        for cut in range(low, high):
            if area > least[cut]:
                if first[cut] >= 0:
                    others[cut] = max(others[cut], _most(rows[first[cut]]))
                first[cut], least[cut] = i, area
            else:
                others[cut] = max(others[cut], _most(rows[i]))
    for cut in range(256):
        if first[cut] >= 0 and (
            others[cut] >= least[cut] or (rows[first[cut], 7] and least[cut] == 0)
        ):
            first[cut] = -1
    return first


@njit(cache=True, nogil=True, inline="always")
def _most(row: Any) -> Any:
    return 2 * (row[4] - row[2]) * (row[5] - row[3]) if row[7] else row[6]
