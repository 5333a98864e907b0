"""How many boxes of maps hit the object, with half-open boxes and on any device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_flag
from wsolrefine.functional.boxes import box_iou, component_boxes, largest_box
from wsolrefine.metrics._inputs import (
    LARGEST,
    Sizes,
    check_finite,
    checked_boxes,
    checked_ious,
    checked_thresholds,
)

MASKS_AT_ONCE = 2**24
"""Pixels of masks that are held at a time."""


def count_box_hits_half_open(
    maps: Tensor,
    boxes: Sequence[Tensor],
    *,
    image_sizes: Sizes | None = None,
    thresholds: Sequence[float] | None = None,
    ious: Sequence[float] = (0.5,),
    all_components: bool = False,
) -> Tensor:
    """Count the images whose box hits a true one, with plain boxes on the maps' own device.

    A pixel is object where ``map > threshold``, so the best threshold here is the one to use with
    :func:`wsolrefine.largest_box`. Components are 8-connected, the largest has the most pixels,
    holes do not count as objects, boxes are half-open, and nothing is rounded to 8 bits or to whole
    pixels. Counts differ a little from those of papers, which come from
    :func:`wsolrefine.metrics.count_box_hits`.

    Args:
        maps: score maps, ``(B, H, W)``, of any scale.
        boxes: B tensors ``(n, 4)`` of true boxes, half-open ``x0 y0 x1 y1``. An image without boxes
            is never hit.
        image_sizes: ``(B, 2)`` height and width of the images that the boxes refer to; None: boxes
            are in pixels of the map.
        thresholds: T values; None: 0, 0.001, ... 0.999.
        ious: I IoUs to reach, in (0, 1].
        all_components: False: the box of the largest component; True: the boxes of all.

    Returns:
        ``(I, T)`` int64 numbers of images, on the device of ``maps``.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor, boxes, sizes, thresholds or IoUs are not
            of numbers, or ``all_components`` is not a boolean.
        ValueError: shapes disagree, a map has NaN or infinity, a box has no pixel of the image or
            begins left of or above it, or a threshold or IoU is out of range.

    Example:
        >>> import torch
        >>> maps = torch.zeros(1, 6, 6)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> truth = [torch.tensor([[1.0, 1.0, 5.0, 5.0]])]
        >>> count_box_hits_half_open(maps, truth, thresholds=[0.0, 0.5], ious=[0.5, 1.0])
        tensor([[1, 1],
                [0, 0]])

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2, without the released code's conventions.

    """
    check_values(maps=maps)
    check_tensors(maps=(maps, "B H W"))
    all_components = check_flag("all_components", all_components)
    steps, least = checked_thresholds(thresholds), checked_ious(ious)
    truths = checked_boxes(maps, boxes, image_sizes)
    check_finite("maps", maps)
    dtype = torch.float32 if maps.device.type == "mps" else torch.float64
    number = partial(torch.tensor, dtype=dtype, device=maps.device)
    levels, need = number(steps), number(least)
    hits = torch.zeros(len(least), len(steps), dtype=torch.int64, device=maps.device)
    height, width = maps.shape[1:]
    at_once = max(1, MASKS_AT_ONCE // (height * width))
    for map, (truth, (high, wide)) in zip(maps.detach(), truths, strict=True):
        scale = number([width / wide, height / high] * 2)
        true = (truth.to(scale) * scale).clamp(max=LARGEST)
        for start in range(0, len(steps) if len(true) else 0, at_once):
            masks = map.to(dtype) > levels[start : start + at_once, None, None]
            best = (_best_of_all if all_components else _best_of_largest)(masks, true)
            hits[:, start : start + at_once] += best >= need[:, None]
    return hits


def _best_of_largest(masks: Tensor, true: Tensor) -> Tensor:
    return box_iou(largest_box(masks).to(true), true).amax(1)


def _best_of_all(masks: Tensor, true: Tensor) -> Tensor:
    found = component_boxes(masks)
    counts = torch.tensor([len(some) for some in found], device=masks.device)
    owner = torch.arange(len(masks), device=masks.device).repeat_interleave(counts)
    ious = box_iou(torch.cat(found).to(true), true).amax(1)
    return ious.new_zeros(len(masks)).scatter_reduce(0, owner, ious, "amax")
