"""Checks of the metrics' inputs. Unlike the functions' checks, these look at values too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsolrefine._check import check_like, check_real, check_values
from wsolrefine._options import check_count, check_number, check_numbers, kind_of
from wsolrefine.metrics._metric import float64_device

LARGEST = 2**30
"""Corners beyond are moved here, so that areas do not overflow."""
Sizes = Tensor | Sequence[tuple[int, int]]
ROUNDING = 4
"""Interpolation may leave [0, 1] by this many times the distance from 1 to the next number."""


def thresholds_of(step: float) -> list[float]:
    """Return 0, step, 2 step, ... below 1: the very floats of NumPy's ``arange(0, 1, step)``.

    Neighboring floats threshold some maps differently: only these reproduce published counts.

    Raises:
        TypeError: ``step`` is not a number.
        ValueError: ``step`` is not in [0.000001, 1].

    Example:
        >>> thresholds_of(0.25)
        [0.0, 0.25, 0.5, 0.75]

    Reference:
        Choe et al., CVPR 2020, released code (wsolevaluation), commit 96f4b88.

    """
    step = check_number("step", step, low=1e-6, high=1)
    return [float(value) for value in np.arange(0, 1, step)]


def checked_thresholds(thresholds: Any, *, optional: bool = True) -> list[float]:
    """Return the thresholds, checked to rise within [0, 1].

    None means 0, 0.001, ... 0.999, where it is allowed.
    """
    if thresholds is None and optional:
        return thresholds_of(0.001)
    steps = check_numbers("thresholds", _listed("thresholds", thresholds), low=0, high=1)
    for low, high in itertools.pairwise(steps):
        if low >= high:
            raise ValueError(f"thresholds: expected rising numbers, got {low} before {high}")
    return steps


def checked_ious(ious: Any) -> list[float]:
    """Return the IoU thresholds, checked to be in (0, 1]."""
    return check_numbers("ious", _listed("ious", ious), above=0, high=1)


def checked_label(name: str, label: Any) -> int:
    """Return a label of masks, which may be any integer."""
    return check_count(name, label, low=-(2**31), high=2**31 - 1)


def checked_counts(name: str, counts: Tensor) -> Tensor:
    """Return counts as int64, checked to be whole numbers of at least 0."""
    if counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer dtype, got {counts.dtype}")
    counts = counts.detach().to(torch.int64)
    least = int(counts.min()) if counts.numel() else 0
    if least < 0:
        raise ValueError(f"{name}: expected counts >= 0, got {least}")
    return counts


def checked_box_lists(name: str, boxes: Any, batch: int, source: str) -> list[Tensor]:
    """Return one tensor ``(n, 4)`` of real numbers for each image, as float64 for comparisons."""
    if isinstance(boxes, Tensor):
        check_values(**{name: boxes})
    is_list = isinstance(boxes, Sequence) and not isinstance(boxes, (str, bytes))
    if not is_list and not (isinstance(boxes, Tensor) and boxes.ndim):
        got = kind_of(boxes)
        raise TypeError(f"{name}: expected a list of {batch} tensors, got {got}")
    if len(boxes) != batch:
        raise ValueError(f"{name}: expected {batch} tensors{source}, got {len(boxes)}")
    lists = []
    for i, some in enumerate(boxes):
        check_values(**{f"{name}[{i}]": some})
        check_real(f"{name}[{i}]", some, "n 4")
        lists.append(some.detach().to(float64_device(some), torch.float64))
    return lists


def checked_boxes(
    maps: Tensor, boxes: Sequence[Tensor], image_sizes: Sizes | None
) -> list[tuple[Tensor, tuple[int, int]]]:
    """Return for each map its half-open boxes and the (height, width) that they refer to."""
    batch, height, width = maps.shape
    lists = checked_box_lists("boxes", boxes, batch, " as maps")
    sizes = [(height, width)] * batch
    if image_sizes is not None:
        sizes = _checked_sizes(image_sizes, batch)
    for i, some in enumerate(lists):
        # NaN fails too.
        ordered = (some[:, 2:] > some[:, :2]) & (some[:, :2] >= 0) & some[:, 2:].isfinite()
        if not bool(ordered.all()):
            expected = f"boxes[{i}]: expected finite corners, 0 <= x0 < x1 and 0 <= y0 < y1"
            wrong = some[~ordered.all(1)][0].tolist()
            raise ValueError(f"{expected}, got {wrong}")
        _check_pixels(f"boxes[{i}]", some, sizes[i], image_sizes is not None)
    return list(zip(lists, sizes, strict=True))


def _check_pixels(name: str, boxes: Tensor, size: tuple[int, int], given: bool) -> None:
    """Raise if a half-open box has no pixel of its image: it would count as a miss of any map.

    Boxes that lie partly outside are those of published lists, and stay.
    """
    height, width = size
    of = "image_sizes" if given else "maps (image_sizes tells the size of larger images)"
    outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
    if bool(outside.any()):
        expected = f"{name}: expected pixels within {width} x {height}, the size of {of}"
        raise ValueError(f"{expected}, got {boxes[outside][0].tolist()}")
    small = (boxes[:, 2:] - boxes[:, :2] < 1).any(1)
    if bool(small.any()):
        expected = f"{name}: expected one pixel or more of {width} x {height}, the size of {of}"
        raise ValueError(f"{expected}, got {boxes[small][0].tolist()}")


def _checked_sizes(image_sizes: Any, batch: int) -> list[tuple[int, int]]:
    expected = f"image_sizes: expected {batch} pairs of integers (height, width)"
    if isinstance(image_sizes, Tensor):
        check_values(image_sizes=image_sizes)
    try:
        given = torch.as_tensor(image_sizes)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{expected}, got {type(image_sizes).__name__}: {error}") from None
    given = given.reshape(0, 2) if batch == given.numel() == 0 else given
    if given.shape != (batch, 2):
        raise ValueError(f"image_sizes: expected shape ({batch}, 2), got {tuple(given.shape)}")
    if given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"{expected}, got {given.dtype}")
    for size in given.flatten().tolist():
        if size != size // 1 or size > LARGEST:  # NaN fails too
            raise ValueError(f"{expected}, got {size}")
    sizes = [(int(high), int(wide)) for high, wide in given.tolist()]
    if batch and min(map(min, sizes)) < 1:
        raise ValueError(f"image_sizes: expected 1 or more pixels, got {min(map(min, sizes))}")
    return sizes


def checked_masks(maps: Tensor, masks: Tensor, *, same_size: bool = True) -> Tensor:
    """Return masks of the maps as int64, which holds any label, on the maps' device."""
    check_values(masks=masks)
    if masks.is_floating_point() or masks.is_complex():
        raise TypeError(f"masks: expected an integer or boolean dtype, got {masks.dtype}")
    if same_size:
        check_like(maps=maps, masks=masks)
    elif masks.ndim != 3 or len(masks) != len(maps) or 0 in masks.shape[1:]:
        expected = f"masks: expected shape (B, H, W) with B={len(maps)} from maps"
        raise ValueError(f"{expected}, got {tuple(masks.shape)}")
    return masks.to(maps.device, torch.int64)


def unit_interval(name: str, maps: Tensor, stored: torch.dtype | None = None) -> Tensor:
    """Return the maps in float64, for comparisons; on the CPU if their device has none.

    What lies outside [0, 1] by no more than rounding is moved to its end.

    Args:
        name: name of the argument.
        maps: the maps.
        stored: the dtype in which they were rounded; None: their own.

    Raises:
        ValueError: a value lies outside [0, 1] by more than rounding, or is NaN.

    """
    values = maps.detach().to(float64_device(maps), torch.float64)
    low, high = _range_of(values)
    if low >= 0 and high <= 1:
        return values
    slack = ROUNDING * torch.finfo(stored or maps.dtype).eps
    if not (-slack <= low and high <= 1 + slack):  # NaN passes through and fails too
        got = "values that are NaN" if math.isnan(low) else f"{low:.9g} to {high:.9g}"
        raise ValueError(f"{name}: expected values in [0, 1], got {got}")
    return values.clamp(0, 1)


def check_finite(name: str, maps: Tensor) -> None:
    """Raise unless all values of maps of any scale are finite.

    Functions make a zero map of one that is not, but a metric would count it as a bad prediction.

    Raises:
        ValueError: a value is NaN or infinite.

    """
    low, high = _range_of(maps.detach())
    if math.isfinite(low) and math.isfinite(high):
        return
    what = "NaN" if math.isnan(low) else "infinite"
    raise ValueError(f"{name}: expected finite values, got values that are {what}")


def _range_of(values: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value, both NaN if one is; zeros if there is none."""
    if not values.numel():
        return 0.0, 0.0
    low, high = values.aminmax()
    return float(low), float(high)


def _listed(name: str, numbers: Any) -> Any:
    """Return numbers of a tensor as a list, and anything else as it is."""
    if not isinstance(numbers, Tensor):
        return numbers
    check_values(**{name: numbers})
    check_real(name, numbers, "T")
    return numbers.tolist()
