"""Feature maps as unit vectors, one per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, finfo

from wsolrefine.functional.grid import largest_grid, resize
from wsolrefine.functional.normalize import working


class UnitVectors(NamedTuple):
    """Unit vectors; which of them are not zero; which images are finite."""

    vectors: Tensor  # (B, C, N)
    alive: Tensor  # (B, N)
    finite: Tensor  # (B,)

    @property
    def rounding(self) -> float:
        """Span of cosines that rounding alone can cause: they are sums over the channels."""
        return 8 * finfo(self.vectors.dtype).eps * sqrt(self.vectors.shape[1])


def unit_vectors(features: Tensor) -> UnitVectors:
    """Divide each pixel's feature vector by its length; a zero vector stays zero (a dead pixel).

    Products of unit vectors are cosines. An image is finite when all its lengths are, so values
    whose squares overflow (beyond 1e19 in float32) count as infinite.
    """
    pixels = working(features).flatten(2)
    length = torch.linalg.vector_norm(pixels, dim=1)
    alive = length > 0
    vectors = pixels / length.where(alive, 1.0)[:, None]
    return UnitVectors(vectors, alive, length.isfinite().all(1))


def on_one_grid(layers: Sequence[Tensor]) -> list[Tensor]:
    """Resize all layers to the largest of their grids."""
    size = largest_grid(layers)
    return [resize(working(layer), size) for layer in layers]
