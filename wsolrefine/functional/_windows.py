"""Copies of the neighbors of every pixel: few operations, for graphs, vmap and GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def windows(maps: Tensor, offsets: Sequence[int]) -> Tensor:
    """Return the pixels of ``(B, C, H, W)`` at all offsets, ``(B, C, R, H, R, W)``.

    ``result[b, c, i, y, j, x]`` is the pixel at ``(y + offsets[i], x + offsets[j])``. Beyond the
    border, the border is repeated. Rows are picked first, then columns: two small lists of indices.
    """
    batch, channels, height, width = maps.shape
    count = len(offsets)
    rows, columns = (_positions(offsets, side, maps.device)[0] for side in (height, width))
    maps = maps.index_select(2, rows.flatten()).reshape(batch, channels, count * height, width)
    maps = maps.index_select(3, columns.flatten())
    return maps.reshape(batch, channels, count, height, count, width)


def inside_windows(maps: Tensor, offsets: Sequence[int]) -> Tensor:
    """Return 1 where :func:`windows` took a pixel of the image, 0 beyond it, ``(R, H, R, W)``."""
    rows, columns = (_positions(offsets, side, maps.device)[1] for side in maps.shape[-2:])
    return (rows[..., None, None] & columns).to(maps.dtype)


def _positions(offsets: Sequence[int], side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the position at each offset of each pixel, ``(R, side)``, and whether it exists."""
    position = torch.arange(side, device=device)
    # Each offset is added on its own: a tensor of them would be copied from the CPU.
    wanted = torch.stack([position + offset for offset in offsets])
    return wanted.clamp(0, side - 1), (wanted >= 0) & (wanted < side)
