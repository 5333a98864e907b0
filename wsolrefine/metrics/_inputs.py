"""Checks of the metrics' inputs. Unlike the functions' checks, these look at values too."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsolrefine._check import check_like
from wsolrefine.metrics._metric import float64_device

Sizes = Tensor | Sequence[tuple[int, int]]


def thresholds_of(step: float) -> list[float]:
    """Return 0, step, 2 step, ... below 1: the very floats of NumPy's ``arange(0, 1, step)``.

    Neighboring floats threshold some maps differently: only these reproduce published counts.

    Raises:
        ValueError: ``step`` is not in (0, 1].

    Example:
        >>> thresholds_of(0.25)
        [0.0, 0.25, 0.5, 0.75]

    Reference:
        Choe et al., CVPR 2020, released code (wsolevaluation), commit 96f4b88.

    """
    if not 0 < step <= 1:
        raise ValueError(f"step: expected a number in (0, 1], got {step}")
    return [float(value) for value in np.arange(0, 1, step)]


def checked_thresholds(thresholds: Sequence[float] | None) -> list[float]:
    """Return the thresholds, checked to rise within [0, 1]; None means 0, 0.001, ... 0.999."""
    if thresholds is None:
        return thresholds_of(0.001)
    steps = [float(value) for value in thresholds]
    # Pairwise, because NaN compares with nothing.
    rising = all(low < high for low, high in itertools.pairwise(steps))
    if not steps or not rising or not 0 <= steps[0] <= steps[-1] <= 1:
        raise ValueError(f"thresholds: expected rising numbers in [0, 1], got {steps}")
    return steps


def checked_ious(ious: Sequence[float]) -> list[float]:
    """Return the IoU thresholds, checked to be in (0, 1]."""
    least = [float(value) for value in ious]
    if not least or not all(0 < value <= 1 for value in least):
        raise ValueError(f"ious: expected numbers in (0, 1], got {least}")
    return least


def checked_boxes(
    maps: Tensor, boxes: Sequence[Tensor], image_sizes: Sizes | None
) -> list[tuple[Tensor, tuple[int, int]]]:
    """Return for each map its half-open boxes and the (height, width) that they refer to."""
    batch, height, width = maps.shape
    if len(boxes) != batch:
        raise ValueError(f"boxes: expected {batch} tensors as maps, got {len(boxes)}")
    sizes = [(height, width)] * batch
    if image_sizes is not None:
        given = torch.as_tensor(image_sizes)
        given = given.reshape(0, 2) if batch == given.numel() == 0 else given
        if given.shape != (batch, 2):
            raise ValueError(f"image_sizes: expected shape ({batch}, 2), got {tuple(given.shape)}")
        sizes = [(int(high), int(wide)) for high, wide in given.tolist()]
        if batch and min(map(min, sizes)) < 1:
            raise ValueError(f"image_sizes: expected 1 or more pixels, got {min(map(min, sizes))}")
    for i, some in enumerate(boxes):
        if not isinstance(some, Tensor):
            raise TypeError(f"boxes[{i}]: expected a torch.Tensor, got {type(some).__name__}")
        if some.ndim != 2 or some.shape[1] != 4:
            raise ValueError(f"boxes[{i}]: expected shape (n, 4), got {tuple(some.shape)}")
        # NaN fails too.
        ordered = (some[:, 2:] > some[:, :2]) & (some[:, :2] >= 0) & some[:, 2:].isfinite()
        if not bool(ordered.all()):
            expected = f"boxes[{i}]: expected finite corners, 0 <= x0 < x1 and 0 <= y0 < y1"
            raise ValueError(f"{expected}, got {some.tolist()}")
    return list(zip(boxes, sizes, strict=True))


def checked_masks(maps: Tensor, masks: Tensor, *, same_size: bool = True) -> Tensor:
    """Return masks of the maps as int64, which holds any label, on the maps' device."""
    if not isinstance(masks, Tensor):
        raise TypeError(f"masks: expected a torch.Tensor, got {type(masks).__name__}")
    if masks.is_floating_point() or masks.is_complex():
        raise TypeError(f"masks: expected an integer or boolean dtype, got {masks.dtype}")
    if same_size:
        check_like(maps=maps, masks=masks)
    elif masks.ndim != 3 or len(masks) != len(maps) or 0 in masks.shape[1:]:
        expected = f"masks: expected shape (B, H, W) with B={len(maps)} from maps"
        raise ValueError(f"{expected}, got {tuple(masks.shape)}")
    return masks.to(maps.device, torch.int64)


def unit_interval(maps: Tensor) -> Tensor:
    """Return the maps in float64, for comparisons; on the CPU if their device has none."""
    values = maps.detach().to(float64_device(maps), torch.float64)
    low, high = values.aminmax() if values.numel() else (values.new_zeros(()),) * 2
    if not bool((low >= 0) & (high <= 1)):  # NaN passes through and fails too
        raise ValueError(f"maps: expected values in [0, 1], got {low:.4g} to {high:.4g}")
    return values
