"""One grid for maps and features of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._numeric import unit_range, unit_rounding

_CELLS = 28 * 28  # the most of a grid that is chosen


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(B, C, h, w)`` or ``(B, h, w)`` bilinearly: half-pixel centers, no antialias."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    stacked = maps if maps.ndim == 4 else maps[:, None]
    resized = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)


def highest_pixels(maps: Tensor, size: tuple[int, int], count: int) -> Tensor:
    """Return which ``count`` pixels of maps ``(B, K, h, w)`` are highest on a grid of ``size``.

    Of pixels as high as the last one, the first in raster order are taken. Interpolation makes
    values equal that rounding tells apart, differently for each scale of the map, precision and
    device. So after a resizing, values closer than 2^-19 of the map's range are equal, or closer
    than rounding where the range is small beside the values.
    """
    if tuple(maps.shape[-2:]) == size:
        values, margin = maps.flatten(-2), maps.new_zeros(())
    else:
        values = _interpolated(unit_range(maps), size).flatten(-2)
        margin = unit_rounding(maps).flatten(-2).clamp_min(2.0**-19)
    last = values.topk(count).values[..., -1:]
    rank = (values > last + margin).int() + (values >= last - margin).int()
    # Each pixel gets a number of its own, so that no tie is left to the sorting.
    pixels = values.shape[-1]
    before = torch.arange(pixels - 1, -1, -1, dtype=rank.dtype, device=maps.device)
    return (rank * pixels + before).topk(count).indices


def _interpolated(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as :func:`resize` does, with weights that are exact but for one rounding.

    Those of ``interpolate`` lose digits as the grid grows, because they are the difference of a
    position and an index.
    """
    for axis, length in zip((-2, -1), size, strict=True):
        given, unit = maps.shape[axis], 2 * length
        index = torch.arange(max(given, length), device=maps.device)
        # Where the centers of the new pixels are, in units of 1 / (2 length) of an old one.
        center = (2 * index[:length] + 1) * given - length
        center = center.clamp(0, unit * (given - 1))
        # The old pixels at or before them, counted: torch.compile fails at an index by division.
        low = (center[:, None] >= unit * index[1:given]).sum(1)
        high = (low + 1).clamp_max(given - 1)
        share = (center - unit * low).to(maps.dtype) / unit
        share = share[:, None] if axis == -2 else share
        first, second = maps.index_select(axis, low), maps.index_select(axis, high)
        maps = first * (1 - share) + second * share
    return maps


def largest_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """Return the smallest (H, W) that no map exceeds."""
    return max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Return maps ``(B, C, h, w)`` as the channels of one map, on the largest of their grids."""
    size = largest_grid(maps)
    return torch.cat([resize(one, size) for one in maps], 1)


def limited_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return a (height, width), reduced in proportion to at most ``side`` on the longer side."""
    height, width = size
    scale = min(1.0, side / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def limited_grid(maps: Sequence[Tensor], cells: int = _CELLS) -> tuple[int, int]:
    """Return the largest grid of the maps, reduced in proportion to at most so many cells.

    For functions whose time or memory grows with the square of the cells or faster.
    """
    height, width = largest_grid(maps)
    if height * width <= cells:
        return height, width
    scale = sqrt(cells / (height * width))
    return max(1, int(height * scale + 1e-9)), max(1, int(width * scale + 1e-9))
