"""The boxes of score maps and how many hit the object, as wsolevaluation counts them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_flag, check_number, check_size
from wsolrefine.functional._opencv import opencv
from wsolrefine.functional.normalize import minmax
from wsolrefine.metrics._contours import Gray, Ints, best_ious, contour_boxes, largest_boxes
from wsolrefine.metrics._inputs import (
    LARGEST,
    Sizes,
    check_finite,
    checked_boxes,
    checked_ious,
    checked_thresholds,
    unit_interval,
)


def prepare_score_map(map: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map bicubically, then min-max it, as wsolevaluation does before it counts.

    Args:
        map: ``(h, w)``, of any scale.
        size: ``(H, W)`` in pixels; wsolevaluation uses (224, 224).

    Returns:
        ``(H, W)`` float64 in [0, 1] on the CPU; zero for a constant map.

    Raises:
        TypeError: ``map`` is not a floating-point tensor, or ``size`` not of integers.
        ValueError: ``map`` is not ``(h, w)``, or has NaN or infinity, or ``size`` is not two
            integers >= 1.

    Example:
        >>> import torch
        >>> large = prepare_score_map(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), (8, 8))
        >>> large.shape, large.min().item(), large.max().item()
        (torch.Size([8, 8]), 0.0, 1.0)

    Reference:
        Choe et al., CVPR 2020, released code (wsolevaluation), commit 96f4b88.

    """
    cv2 = opencv("prepare_score_map")

    check_values(map=map)
    check_tensors(map=(map, "h w"))
    height, width = check_size("size", size)
    check_finite("map", map)
    # OpenCV interpolates in float32, as in wsolevaluation; it does not support half precision.
    values = _within_float32(map).float().numpy(force=True)
    large = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    return minmax(torch.from_numpy(large.astype(np.float64)))


def _within_float32(map: Tensor) -> Tensor:
    """Return the map times a power of two, which min-max undoes, if float32 cannot hold it."""
    peak = map.abs().max().item() if map.dtype == torch.float64 else 1.0
    if 1e-30 < peak < 1e30 or peak == 0:
        return map
    # Twice, because the power itself may be beyond float64.
    half = -math.frexp(peak)[1] / 2
    return map * 2.0 ** math.floor(half) * 2.0 ** math.ceil(half)


def score_map_boxes(map: Tensor, threshold: float, *, all_contours: bool = False) -> Tensor:
    """Return the boxes that wsolevaluation extracts from a score map at one threshold.

    The map is truncated to 8 bits, ``u = uint8(255 map)``; object is ``u > int(threshold max u)``.
    Every contour of OpenCV counts, those of holes too; its box goes from its first pixel to one
    pixel beyond its last, but never beyond the map.

    Args:
        map: ``(H, W)`` in [0, 1], on any device.
        threshold: as a fraction of the map's maximum.
        all_contours: False: the contour with the largest polygon area, as MaxBoxAcc takes it; True:
            all, as MaxBoxAccV2 does.

    Returns:
        ``(n, 4)`` int64 **inclusive** corners ``x0 y0 x1 y1`` as the protocol uses them, on the
        CPU; n is 1 or more: if nothing is above the threshold, the box is ``0 0 0 0``.

    Raises:
        TypeError: ``map`` is not a floating-point tensor, ``threshold`` not a number, or
            ``all_contours`` not a boolean.
        ValueError: ``map`` has another number of axes, or NaN, or values outside [0, 1] by more
            than rounding, or ``threshold`` lies outside [0, 1].

    Example:
        >>> import torch
        >>> map = torch.zeros(5, 6)
        >>> map[1:3, 2:4] = 1
        >>> score_map_boxes(map, 0.5)
        tensor([[2, 1, 4, 3]])

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2; released code (wsolevaluation), commit 96f4b88.

    """
    check_values(map=map)
    check_tensors(map=(map, "H W"))
    threshold = check_number("threshold", threshold, low=0, high=1)
    all_contours = check_flag("all_contours", all_contours)
    gray = _quantized("map", map[None])[0]
    level = np.array([int(threshold * int(gray.max()))])
    return torch.from_numpy(contour_boxes(gray, level, all_contours)[0].astype(np.int64))


def count_box_hits(
    maps: Tensor,
    boxes: Sequence[Tensor],
    *,
    image_sizes: Sizes | None = None,
    thresholds: Sequence[float] | None = None,
    ious: Sequence[float] = (0.5,),
    all_contours: bool = False,
) -> Tensor:
    """Count the images whose box hits a true one, as wsolevaluation does, number for number.

    Boxes are those of :func:`wsolrefine.metrics.score_map_boxes`. An image counts at an IoU and a
    threshold if any of its predicted boxes has at least that IoU with any of its true ones, both
    taken as inclusive: a predicted box is one pixel too wide and too high, except at the border,
    and that is part of the protocol.

    Args:
        maps: score maps in [0, 1], ``(B, H, W)``, on any device; the counting runs on the CPU.
        boxes: B tensors ``(n, 4)`` of true boxes, half-open ``x0 y0 x1 y1`` as everywhere here. The
            last pixel is ``x1 - 1``; corners in wsolevaluation's files are inclusive: add 1 to
            ``x1`` and ``y1``. An image without boxes is never hit.
        image_sizes: ``(B, 2)`` height and width of the images that the boxes refer to; corners are
            scaled to the map's size and truncated. None: boxes are in pixels of the map.
        thresholds: T fractions of each map's maximum; None: 0, 0.001, ... 0.999.
        ious: I IoUs to reach, in (0, 1].
        all_contours: False: one box per image, of the contour with the largest area (MaxBoxAcc);
            True: the boxes of all contours (MaxBoxAccV2).

    Returns:
        ``(I, T)`` int64 numbers of images on the CPU. Counts of several batches add up.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor, boxes, sizes, thresholds or IoUs are not
            of numbers, or ``all_contours`` is not a boolean.
        ValueError: shapes disagree, a map has NaN or values outside [0, 1] by more than rounding, a
            box has no pixel of the image or begins left of or above it, or a threshold or IoU is
            out of range.

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
    check_values(maps=maps)
    check_tensors(maps=(maps, "B H W"))
    all_contours = check_flag("all_contours", all_contours)
    steps = np.array(checked_thresholds(thresholds))
    least = np.array(checked_ious(ious))
    truths = checked_boxes(maps, boxes, image_sizes)
    hits = np.zeros((len(least), len(steps)), np.int64)
    for gray, truth in zip(_quantized("maps", maps), truths, strict=True):
        levels, back = _levels(gray, steps)
        best = best_ious(gray, inclusive_boxes(*truth, gray.shape), levels, all_contours)
        hits += best[back] >= least[:, None]
    return torch.from_numpy(hits)


def largest_boxes_at(map: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return the box of MaxBoxAcc at each threshold, all at once.

    The same as :func:`wsolrefine.metrics.score_map_boxes` of each: ``(T, 4)`` int64, inclusive.
    """
    check_tensors(map=(map, "H W"))
    gray = _quantized("map", map[None])[0]
    levels, back = _levels(gray, np.array(checked_thresholds(thresholds)))
    return torch.from_numpy(largest_boxes(gray, levels)[back])


def inclusive_boxes(boxes: Tensor, image_size: tuple[int, int], map_size: tuple[int, ...]) -> Ints:
    """Convert half-open boxes of an image to inclusive ones of the map, truncated to whole pixels.

    Boxes are ``(n, 4)``, sizes are (height, width).
    """
    corners = boxes.double().clamp(max=LARGEST).numpy(force=True) - [0, 0, 1, 1]
    scaled = corners * [*map_size[::-1], *map_size[::-1]] / [*image_size[::-1], *image_size[::-1]]
    return np.minimum(scaled, LARGEST).astype(np.int64)


def _quantized(name: str, maps: Tensor) -> Gray:
    """Truncate maps to 8 bits; a product in float32 would move some values to the next level."""
    return (255 * unit_interval(name, maps).numpy(force=True)).astype(np.uint8, order="C")


def _levels(gray: Gray, steps: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Return the distinct gray levels of the thresholds, and the index of each one's level."""
    return np.unique((steps * float(gray.max())).astype(np.int64), return_inverse=True)
