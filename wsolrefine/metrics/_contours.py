"""One gray map at all its thresholds against its ground truth, as wsolevaluation counts boxes.

A map in 8 bits has at most 255 different masks, however many thresholds are tried. With numba one
pass over the pixels finds the components of all of them; without it OpenCV traces each one's
contours.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import numpy.typing as npt

from wsolrefine.functional._opencv import opencv

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Gray = npt.NDArray[np.uint8]

COMPILED = find_spec("numba") is not None
"""Whether to use the component tree; without numba (extra ``fast``) OpenCV is used."""


@functools.cache
def _component_tree() -> ModuleType | None:
    """Load the component tree; None if numba is installed but not usable.

    It may not support the installed NumPy, find no folder in which to cache compiled code, or be
    told to compile nothing (``NUMBA_DISABLE_JIT``), which makes integers overflow.
    """
    try:
        from numba import config

        from wsolrefine.metrics import _max_tree
    except (ImportError, RuntimeError):
        return None
    return None if getattr(config, "DISABLE_JIT", False) else _max_tree


def best_ious(
    gray: Gray, truth: Ints, cuts: Ints, all_contours: bool, *, compiled: bool | None = None
) -> Floats:
    """Return the best inclusive IoU of any predicted box with any true one, at each threshold.

    Args:
        gray: map, ``(H, W)`` uint8.
        truth: inclusive boxes ``(n, 4)``.
        cuts: integer thresholds, rising and distinct; object is where ``gray > cut``.
        all_contours: False: the box of the largest contour; True: the boxes of all contours.
        compiled: use the component tree; None: as ``COMPILED`` says.

    """
    if len(truth) == 0:
        return np.zeros(len(cuts))
    if not all_contours:
        return _iou(largest_boxes(gray, cuts, compiled=compiled), truth)
    tree = _component_tree() if (COMPILED if compiled is None else compiled) else None
    if tree is None:
        return _all_by_contours(gray, truth, cuts)
    return _all_by_tree(tree, gray, truth, cuts)


def largest_boxes(gray: Gray, cuts: Ints, *, compiled: bool | None = None) -> Ints:
    """Return the box of the largest contour at each threshold, ``(len(cuts), 4)``, as used."""
    boxes = np.zeros((len(cuts), 4), np.int64)
    uncertain = np.arange(len(cuts))
    tree = _component_tree() if (COMPILED if compiled is None else compiled) else None
    if tree is not None:
        rows = tree.components(gray, tree.JOIN_8)
        first = tree.largest(rows)[cuts]
        certain, uncertain = np.flatnonzero(first >= 0), np.flatnonzero(first < 0)
        boxes[certain] = _used(rows[first[certain], 2:6], gray, 0)
    if len(uncertain):
        boxes[uncertain], _ = contour_boxes(gray, cuts[uncertain], False)
    return boxes


def contour_boxes(gray: Gray, cuts: Ints, all_contours: bool) -> tuple[Ints, Ints]:
    """Return the predicted boxes at all thresholds, and the index of the first box of each one.

    Boxes are as the protocol uses them: inclusive corners, clamped. Contours of holes count as
    well. The largest is the first one, in OpenCV's order, whose polygon through pixel centers has
    the largest area. The right and bottom corners are one pixel outside the object, except at the
    border. If no pixel is above the threshold, there is one box of zeros.
    """
    cv2 = opencv("counting boxes of score maps")

    extents: list[tuple[int, int, int, int]] = []  # x, y, width, height
    starts = []
    # Only the part of the map with pixels above the threshold is searched.
    parts = zip(*_occupied(gray.max(0), cuts), *_occupied(gray.max(1), cuts), strict=True)
    for cut, (x0, x1, y0, y1) in zip(cuts.tolist(), parts, strict=True):
        starts.append(len(extents))
        if x1 == 0:
            extents.append((0, 0, 0, 0))
            continue
        mask = cv2.threshold(gray[y0:y1, x0:x1], cut, 1, cv2.THRESH_BINARY)[1]
        found = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0))
        contours = found[0]
        if not all_contours and len(contours) > 1:
            contours = [max(contours, key=cv2.contourArea)]
        extents += [cv2.boundingRect(contour) for contour in contours]
    x, y, width, height = np.array(extents).T
    last = np.minimum(x + width, gray.shape[1] - 1), np.minimum(y + height, gray.shape[0] - 1)
    return np.stack([x, y, *last], 1), np.array(starts)


def _occupied(line: Gray, cuts: Ints) -> tuple[list[int], list[int]]:
    """Return for each threshold the first index above it and one past the last; 0, 0 if none."""
    above = line > cuts[:, None]
    last = len(line) - above[:, ::-1].argmax(1)
    return above.argmax(1).tolist(), np.where(above.any(1), last, 0).tolist()


def _all_by_contours(gray: Gray, truth: Ints, cuts: Ints) -> Floats:
    boxes, starts = contour_boxes(gray, cuts, True)
    return np.maximum.reduceat(_iou(boxes, truth), starts)


def _all_by_tree(tree: ModuleType, gray: Gray, truth: Ints, cuts: Ints) -> Floats:
    best = np.zeros(256)
    rows = tree.components(gray, tree.JOIN_8)
    tree.raise_to(best, rows, _iou(_used(rows[:, 2:6], gray, 0), truth))
    # Holes are 4-connected components of the background that do not reach the border. Their
    # contours run on the object's pixels around them.
    height, width = gray.shape
    rows = tree.components(255 - gray, tree.JOIN_4)
    x0, y0, x1, y1 = rows[:, 2:6].T
    rows = rows[(x0 > 0) & (y0 > 0) & (x1 < width - 1) & (y1 < height - 1)]
    ious = _iou(_used(rows[:, 2:6], gray, 1), truth)
    rows[:, :2] = 255 - rows[:, 1::-1]  # 255 - gray > low is gray <= 254 - low
    tree.raise_to(best, rows, ious)
    empty = cuts[cuts >= gray.max()]
    if len(empty):
        best[empty] = _all_by_contours(gray, truth, empty)
    return best[cuts]


def _used(extents: Ints, gray: Gray, around: int) -> Ints:
    """Return boxes as the protocol uses them, from first and last pixels, widened by ``around``."""
    height, width = gray.shape
    wider = extents + np.array([-around, -around, around + 1, around + 1])
    used: Ints = np.minimum(wider, [width - 1, height - 1, width - 1, height - 1])
    return used


def _iou(boxes: Ints, truth: Ints) -> Floats:
    """Return the best IoU of each box ``(n, 4)`` with any true one, both inclusive."""
    x0, y0, x1, y1 = boxes.T.astype(np.int64)
    best = np.zeros(len(boxes))
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for left, top, right, bottom in truth.tolist():
        width = np.minimum(x1, right) - np.maximum(x0, left) + 1
        height = np.minimum(y1, bottom) - np.maximum(y0, top) + 1
        overlap = width.clip(0) * height.clip(0)
        union = area + (right - left + 1) * (bottom - top + 1) - overlap
        np.maximum(best, overlap / union, out=best)
    return best
