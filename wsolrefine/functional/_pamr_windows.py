"""Pixel-adaptive averages over windows: few operations, for graphs, vmap and GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine.functional._windows import windows

_SHARPNESS = 10.0  # the authors' code divides the local standard deviation by this
_WINDOW = (2, 4)  # the axes of a window's pixels


def color_scale(variance: Tensor) -> Tensor:
    """Return by what the differences of colors ``(B, C, H, W)`` are multiplied in the softmax."""
    # Where all neighbors have one color, up to rounding beside the peak of 1, they weigh the same.
    flat = variance <= (8 * torch.finfo(variance.dtype).eps) ** 2
    inverse = variance.where(~flat, 1.0).rsqrt().masked_fill(flat, 0)
    return (_SHARPNESS / variance.shape[1]) * inverse


def averaged_in_windows(
    maps: Tensor, colors: Tensor, iterations: int, dilations: Sequence[int]
) -> Tensor:
    """Return the maps ``(B, K, H, W)`` after so many averages."""
    weights = _weights(colors, dilations)
    for _ in range(iterations):
        maps = torch.stack(
            [
                (weight * windows(maps, 1, step)).sum(_WINDOW)
                for step, weight in zip(dilations, weights, strict=True)
            ]
        ).sum(0)
    return maps


def _weights(colors: Tensor, dilations: Sequence[int]) -> list[Tensor]:
    """Return for each dilation the weights of 3 x 3 neighbors, ``(B, 1, 3, H, 3, W)``."""
    apart = torch.stack(
        [windows(colors, 1, step) - colors[:, :, None, :, None] for step in dilations]
    )  # (D, B, C, 3, H, 3, W)
    around = (0, 3, 5)
    count = 9 * len(dilations)
    variance = (apart.square().sum(around) - apart.sum(around).square() / count) / (count - 1)
    scale = color_scale(variance)[:, :, None, :, None]
    similar = -(apart.abs() * scale).sum(2, keepdim=True)  # (D, B, 1, 3, H, 3, W)
    # A softmax over the neighbors, of which a pixel is not one itself.
    side = torch.arange(3, device=colors.device) == 1
    itself = side[:, None, None, None] & side[:, None]
    similar = similar.masked_fill(itself, -torch.inf)
    weight = (similar - similar.detach().amax(around, keepdim=True)).exp()
    return list((weight / weight.sum(around, keepdim=True)).unbind(0))
