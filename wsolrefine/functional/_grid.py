"""One grid for maps and features of different sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(B, C, h, w)`` or ``(B, h, w)`` bilinearly: half-pixel centers, no antialias."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    stacked = maps if maps.ndim == 4 else maps[:, None]
    resized = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)


def largest_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """Return the smallest (H, W) that no map exceeds."""
    return max(m.shape[-2] for m in maps), max(m.shape[-1] for m in maps)
