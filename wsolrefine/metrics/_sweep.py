"""All cuts of one grey map against its ground truth, as wsolevaluation counts boxes.

A map in 8 bits has 255 different cuts at most, whatever the number of thresholds. With numba all of
them come out of one walk over the pixels; without it OpenCV traces each one's outlines.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]

COMPILED = find_spec("numba") is not None
"""Whether the component tree is to be used; without numba (extra ``fast``) OpenCV is."""


@functools.cache
def _component_tree() -> ModuleType | None:
    """Load the component tree; None where numba is there but does not fit the NumPy beside it."""
    try:
        from wsolrefine.metrics import _tree
    except ImportError:
        return None
    return _tree


def best_ious(
    grey: Grey, truth: Ints, cuts: Ints, all_contours: bool, *, compiled: bool | None = None
) -> Floats:
    """Return the best inclusive IoU of any predicted box with any true one, for each cut.

    Args:
        grey: map, ``(H, W)`` uint8.
        truth: inclusive boxes ``(n, 4)``.
        cuts: rising and distinct; object is where ``grey > cut``.
        all_contours: False: the box of the largest outline; True: those of all outlines.
        compiled: use the component tree; None: as ``COMPILED`` says.

    """
    if len(truth) == 0:
        return np.zeros(len(cuts))
    if not all_contours:
        return _iou(largest_boxes(grey, cuts, compiled=compiled), truth)
    tree = _component_tree() if (COMPILED if compiled is None else compiled) else None
    if tree is None:
        return _all_by_contours(grey, truth, cuts)
    return _all_by_tree(tree, grey, truth, cuts)


def largest_boxes(grey: Grey, cuts: Ints, *, compiled: bool | None = None) -> Ints:
    """Return the box of the largest outline of each cut, ``(len(cuts), 4)``, as it is used."""
    boxes = np.zeros((len(cuts), 4), np.int64)
    unsure = np.arange(len(cuts))
    tree = _component_tree() if (COMPILED if compiled is None else compiled) else None
    if tree is not None:
        rows = tree.components(grey, tree.JOIN_8)
        first = tree.largest(rows)[cuts]
        sure, unsure = np.flatnonzero(first >= 0), np.flatnonzero(first < 0)
        boxes[sure] = _used(rows[first[sure], 2:6], grey, 0)
    for i in unsure.tolist():
        boxes[i] = contour_boxes(grey, int(cuts[i]), False)[0]
    return boxes


def contour_boxes(grey: Grey, cut: int, all_contours: bool) -> Ints:
    """Return the predicted boxes of one cut as they are used: inclusive corners, clamped.

    Outlines of holes count as well. The largest is the first one, in OpenCV's order, whose polygon
    through pixel centres has the largest area. The right and bottom corner lie one pixel outside
    the object, except at the border. No pixel above the cut: one box of zeros.
    """
    import cv2

    height, width = grey.shape
    mask = cv2.threshold(grey, cut, 1, cv2.THRESH_BINARY)[1]
    contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return np.zeros((1, 4), np.int64)
    if not all_contours and len(contours) > 1:
        contours = [max(contours, key=cv2.contourArea)]
    x, y, w, h = np.array([cv2.boundingRect(contour) for contour in contours]).T
    return np.stack([x, y, np.minimum(x + w, width - 1), np.minimum(y + h, height - 1)], 1)


def _all_by_contours(grey: Grey, truth: Ints, cuts: Ints) -> Floats:
    boxes = [contour_boxes(grey, cut, True) for cut in cuts.tolist()]
    starts = np.cumsum([0] + [len(found) for found in boxes[:-1]])
    return np.maximum.reduceat(_iou(np.concatenate(boxes), truth), starts)


def _all_by_tree(tree: ModuleType, grey: Grey, truth: Ints, cuts: Ints) -> Floats:
    best = np.zeros(256)
    rows = tree.components(grey, tree.JOIN_8)
    tree.raise_to(best, rows, _iou(_used(rows[:, 2:6], grey, 0), truth))
    # Holes are 4-connected pieces of the rest that do not reach the border. Their outlines run on
    # the object's pixels around them.
    height, width = grey.shape
    rows = tree.components(255 - grey, tree.JOIN_4)
    rows = rows[((rows[:, 2:4] > 0) & (rows[:, 4:6] < [width - 1, height - 1])).all(1)]
    ious = _iou(_used(rows[:, 2:6], grey, 1), truth)
    rows[:, :2] = 255 - rows[:, 1::-1]  # 255 - grey > low is grey <= 254 - low
    tree.raise_to(best, rows, ious)
    empty = cuts[cuts >= grey.max()]
    if len(empty):
        best[empty] = _all_by_contours(grey, truth, empty)
    return best[cuts]


def _used(extents: Ints, grey: Grey, around: int) -> Ints:
    """Return boxes as they are used, of first and last pixels widened by some on each side."""
    height, width = grey.shape
    wider = extents + np.array([-around, -around, around + 1, around + 1])
    used: Ints = np.minimum(wider, [width - 1, height - 1, width - 1, height - 1])
    return used


def _iou(boxes: Ints, truth: Ints) -> Floats:
    """Return the best IoU of each box ``(n, 4)`` with any true one, both inclusive."""
    boxes = boxes.astype(np.int64)
    best = np.zeros(len(boxes))
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    for true in truth.astype(np.int64):
        sides = np.minimum(boxes[:, 2:], true[2:]) - np.maximum(boxes[:, :2], true[:2]) + 1
        overlap = sides.clip(0).prod(1)
        np.maximum(best, overlap / (areas + (true[2:] - true[:2] + 1).prod() - overlap), out=best)
    return best
