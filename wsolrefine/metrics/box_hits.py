"""The boxes of score maps and how many meet the object, as wsolevaluation counts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.metrics._contours import Grey, Ints, best_ious, contour_boxes, largest_boxes
from wsolrefine.metrics._inputs import (
    Sizes,
    checked_boxes,
    checked_ious,
    checked_thresholds,
    unit_interval,
)


def score_map_boxes(map: Tensor, threshold: float, *, all_contours: bool = False) -> Tensor:
    """Return the boxes that wsolevaluation cuts out of a score map at one threshold.

    The map is truncated to 8 bits, ``u = uint8(255 map)``, and cut at ``u > int(threshold max u)``.
    Every outline of OpenCV counts, those of holes too; its box goes from its first pixel to one
    pixel beyond its last, but never beyond the map.

    Args:
        map: ``(H, W)`` in [0, 1], on any device.
        threshold: as a share of the map's largest value.
        all_contours: False: the outline with the largest polygon area, as MaxBoxAcc takes it; True:
            all, as MaxBoxAccV2 does.

    Returns:
        ``(n, 4)`` int64 **inclusive** corners ``x0 y0 x1 y1`` as the protocol uses them, on the
        CPU; n is 1 or more: where nothing is above the threshold the box is ``0 0 0 0``.

    Raises:
        TypeError: ``map`` is not a floating-point tensor.
        ValueError: ``map`` has another number of axes, or values outside [0, 1] or NaN, or
            ``threshold`` lies outside [0, 1].

    Example:
        >>> import torch
        >>> map = torch.zeros(5, 6)
        >>> map[1:3, 2:4] = 1
        >>> score_map_boxes(map, 0.5)
        tensor([[2, 1, 4, 3]])

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2; released code (wsolevaluation), commit 96f4b88.

    """
    check_tensors(map=(map, "H W"))
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number in [0, 1], got {threshold}")
    grey = _quantised(map[None])[0]
    cut = np.array([int(threshold * int(grey.max()))])
    return torch.from_numpy(contour_boxes(grey, cut, all_contours)[0].astype(np.int64))


def count_box_hits(
    maps: Tensor,
    boxes: Sequence[Tensor],
    *,
    image_sizes: Sizes | None = None,
    thresholds: Sequence[float] | None = None,
    ious: Sequence[float] = (0.5,),
    all_contours: bool = False,
) -> Tensor:
    """Count the images whose box meets a true one, as wsolevaluation does, number for number.

    Each map is cut as in :func:`wsolrefine.metrics.score_map_boxes`. An image counts at an IoU and
    a threshold if any of its predicted boxes has at least that IoU with any of its true ones, both
    taken as inclusive: a predicted box is one pixel too wide and too high, except at the border,
    and that is part of the protocol.

    Args:
        maps: score maps in [0, 1], ``(B, H, W)``, on any device; the counting runs on the CPU.
        boxes: B tensors ``(n, 4)`` of true boxes, half-open ``x0 y0 x1 y1`` as everywhere here. The
            last pixel is ``x1 - 1``; corners in wsolevaluation's files are inclusive: add 1 to
            ``x1`` and ``y1``. An image without boxes counts nowhere.
        image_sizes: ``(B, 2)`` height and width of the images that the boxes refer to; corners are
            brought to the map's size and truncated. None: boxes are in pixels of the map.
        thresholds: T shares of each map's largest value; None: 0, 0.001, ... 0.999.
        ious: I least overlaps in (0, 1].
        all_contours: False: one box an image, of the outline with the largest area (MaxBoxAcc);
            True: those of all outlines (MaxBoxAccV2).

    Returns:
        ``(I, T)`` int64 numbers of images on the CPU. Counts of several batches add up.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor.
        ValueError: shapes disagree, a map has NaN or values outside [0, 1], a box has no pixel or
            lies left of or above the image, or a threshold or IoU is out of range.

    Example:
        >>> import torch
        >>> maps = torch.zeros(1, 6, 6)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> truth = [torch.tensor([[1.0, 1.0, 5.0, 5.0]])]
        >>> count_box_hits(maps, truth, thresholds=[0.0, 0.5], ious=[0.5, 1.0])
        tensor([[1, 1],
                [1, 1]])

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2; released code (wsolevaluation), commit 96f4b88.

    """
    check_tensors(maps=(maps, "B H W"))
    steps = np.array(checked_thresholds(thresholds))
    least = np.array(checked_ious(ious))
    truths = checked_boxes(maps, boxes, image_sizes)
    hits = np.zeros((len(least), len(steps)), np.int64)
    for grey, truth in zip(_quantised(maps), truths, strict=True):
        cuts, back = _cuts(grey, steps)
        best = best_ious(grey, inclusive_boxes(*truth, grey.shape), cuts, all_contours)
        hits += best[back] >= least[:, None]
    return torch.from_numpy(hits)


def largest_boxes_at(map: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return the box of MaxBoxAcc at each threshold, all at once.

    The same as :func:`wsolrefine.metrics.score_map_boxes` of each: ``(T, 4)`` int64, inclusive.
    """
    check_tensors(map=(map, "H W"))
    grey = _quantised(map[None])[0]
    cuts, back = _cuts(grey, np.array(checked_thresholds(thresholds)))
    return torch.from_numpy(largest_boxes(grey, cuts)[back])


def inclusive_boxes(boxes: Tensor, image_size: tuple[int, int], map_size: tuple[int, ...]) -> Ints:
    """Bring half-open boxes of an image to inclusive ones of the map, truncated to whole pixels.

    Boxes are ``(n, 4)``, sizes are (height, width).
    """
    corners = boxes.detach().cpu().double().numpy() - [0, 0, 1, 1]
    scaled = corners * [*map_size[::-1], *map_size[::-1]] / [*image_size[::-1], *image_size[::-1]]
    return scaled.astype(np.int64)


def _quantised(maps: Tensor) -> Grey:
    """Truncate maps to 8 bits; a product in float32 would move some values to the next level."""
    return (255 * unit_interval(maps).cpu().numpy()).astype(np.uint8, order="C")


def _cuts(grey: Grey, steps: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Return the different cuts that thresholds make, and for each threshold which one it is."""
    return np.unique((steps * float(grey.max())).astype(np.int64), return_inverse=True)
