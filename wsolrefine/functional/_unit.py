"""Feature maps as unit vectors, one per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import working


class UnitVectors(NamedTuple):
    """Unit vectors; which of them are not zero; which images are finite."""

    vectors: Tensor  # (B, C, N)
    alive: Tensor  # (B, N)
    finite: Tensor  # (B,)


def unit_vectors(features: Tensor) -> UnitVectors:
    """Divide each pixel's feature vector by its length; a zero vector stays zero (a dead pixel).

    Products of unit vectors are cosines, and the scale of an image's features does not matter. An
    image is finite when all its lengths are.
    """
    pixels = working(features).flatten(2)
    # Squares of values of at most 1 do not overflow, and vanish only beside far larger ones. The
    # scale cancels, so it needs no gradient.
    still = pixels.detach()
    peak = torch.maximum(still.amax((1, 2)), -still.amin((1, 2)))[:, None, None]
    scale = peak.where(peak > 0, 1.0)
    # In groups of channels: a temporary as large as the features costs more than the sums.
    squares = torch.zeros_like(peak[:, 0])
    for part in torch.split(pixels, _channels_at_once(pixels), dim=1):
        squares = squares + (part / scale).square().sum(1)
    alive = squares > 0
    length = squares.where(alive, 1.0).sqrt() * peak[:, 0].where(alive, 1.0)
    return UnitVectors(
        pixels / length[:, None], alive, (peak.isfinite()[:, 0] & length.isfinite()).all(1)
    )


def _channels_at_once(pixels: Tensor) -> int:
    batch, channels, count = pixels.shape
    return max(1, channels // 16, 2**18 // max(1, batch * count))


def on_one_grid(layers: Sequence[Tensor]) -> list[Tensor]:
    """Resize all layers to the largest of their grids."""
    size = largest_grid(layers)
    return [resize(working(layer), size) for layer in layers]
