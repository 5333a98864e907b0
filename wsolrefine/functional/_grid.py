"""One grid for maps and features of different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(B, C, h, w)`` or ``(B, h, w)`` bilinearly: half-pixel centers, no antialias."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    stacked = maps if maps.ndim == 4 else maps[:, None]
    resized = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)


def enlarged_order(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the pixels of maps ``(B, K, h, w)`` on a grid of ``size``, largest value first.

    Equal values are in raster order. Bilinear interpolation makes values equal that rounding tells
    apart, differently in each precision. Here the weights are integers, and so are the values, as
    multiples of 2^-30 of their largest: the order is the same in every precision and on every
    device, and values closer than that are equal.
    """
    if tuple(maps.shape[-2:]) == size:
        return maps.flatten(-2).argsort(dim=-1, descending=True, stable=True)
    mantissa, exponent = torch.frexp(maps)
    highest = exponent.masked_fill(mantissa == 0, -(2**15)).amax((-2, -1), keepdim=True)
    values = torch.ldexp(mantissa, (exponent - highest + 30).clamp_min(-30)).round().long()
    for axis, length in zip((-2, -1), size, strict=True):
        given, unit = values.shape[axis], 2 * length
        index = torch.arange(max(given, length), device=maps.device)
        # Where the centers of the new pixels are, in units of 1 / (2 length) of an old one.
        center = (2 * index[:length] + 1) * given - length
        center = center.clamp(0, unit * (given - 1))
        # The old pixels at or before them, counted: torch.compile fails at an index by division.
        low = (center[:, None] >= unit * index[1:given]).sum(1)
        high = (low + 1).clamp_max(given - 1)
        share = center - unit * low
        share = share[:, None] if axis == -2 else share
        values = values.index_select(axis, low) * (unit - share) + (
            values.index_select(axis, high) * share
        )
    return values.flatten(-2).argsort(dim=-1, descending=True, stable=True)


def largest_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """Return the smallest (H, W) that no map exceeds."""
    return max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)
