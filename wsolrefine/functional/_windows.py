"""The neighbors of every pixel, side by side: few operations, for graphs, vmap and GPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._graphs import values_are_hidden


def in_windows(*tensors: Tensor) -> bool:
    """Return whether to take whole windows: in graphs and transforms, on a GPU without gradients.

    They take the fewest operations. For gradients, every iteration would keep all its products.
    """
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return values_are_hidden() or (tensors[0].device.type == "cuda" and not recorded)


def windows(maps: Tensor, radius: int, step: int = 1) -> Tensor:
    """Return the pixels of ``(B, C, H, W)`` at ``2 radius + 1`` offsets, ``(B, C, R, H, R, W)``.

    ``result[b, c, i, y, j, x]`` is the pixel at ``y + (i - radius) step``, likewise x. Beyond the
    border, the border is repeated. The result is a view, or in a graph a copy.
    """
    if not values_are_hidden():
        return _view(maps, radius, step)
    batch, channels, height, width = maps.shape
    count = 2 * radius + 1
    rows, columns = (_positions(radius, step, side, maps.device)[0] for side in (height, width))
    # Rows are picked first, then columns: two small lists of indices.
    maps = maps.index_select(2, rows.flatten()).reshape(batch, channels, count * height, width)
    maps = maps.index_select(3, columns.flatten())
    return maps.reshape(batch, channels, count, height, count, width)


def _view(maps: Tensor, radius: int, step: int) -> Tensor:
    height, width = maps.shape[-2:]
    # From any pixel, the longest step within the image already ends at its border.
    down, right = (max(1, min(step, side - 1)) for side in (height, width))
    reach = (radius * right, radius * right, radius * down, radius * down)
    stacked = maps.flatten(0, 1)[:, None]  # pad takes no images without channels
    padded = F.pad(stacked, reach, mode="replicate")[:, 0]
    seen = padded.unfold(1, height, down).unfold(2, width, right).transpose(2, 3)
    return seen.view(maps.shape[:2] + seen.shape[1:])


def inside_windows(maps: Tensor, radius: int) -> Tensor:
    """Return 1 where :func:`windows` took a pixel of the image, 0 beyond it, ``(R, H, R, W)``."""
    rows, columns = (_positions(radius, 1, side, maps.device)[1] for side in maps.shape[-2:])
    return (rows[..., None, None] & columns).to(maps.dtype)


def _positions(radius: int, step: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the position at each offset of each pixel, ``(R, side)``, and whether it exists."""
    offset = step * torch.arange(-radius, radius + 1, device=device)
    wanted = offset[:, None] + torch.arange(side, device=device)
    return wanted.clamp(0, side - 1), (wanted >= 0) & (wanted < side)
