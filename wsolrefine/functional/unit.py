"""Feature maps as unit vectors, one per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from torch import Tensor, finfo

from wsolrefine.functional.grid import largest_grid, resize
from wsolrefine.functional.normalize import working


class UnitVectors(NamedTuple):
    """Unit vectors; which of them are not zero; which images are finite."""

    vectors: Tensor  # (B, C, N)
    alive: Tensor  # (B, N)
    finite: Tensor  # (B,)


def cosine_rounding(vectors: Tensor) -> float:
    """Return the span of cosines that rounding alone can cause: they are sums over C channels."""
    return 8 * finfo(vectors.dtype).eps * sqrt(vectors.shape[1])


def unit_vectors(features: Tensor) -> UnitVectors:
    """Divide each pixel's feature vector by its length; a zero vector stays zero (a dead pixel).

    Products of unit vectors are cosines. An image is finite when all its lengths are, so values
    whose squares overflow (beyond 1e19 in float32) count as infinite.
    """
    pixels = working(features).flatten(2)
    # Twice as fast as vector_norm, which reduces across strides one value at a time.
    squares = pixels.square().sum(1)
    alive = squares > 0
    vectors = pixels / squares.where(alive, 1.0).sqrt()[:, None]
    return UnitVectors(vectors, alive, squares.isfinite().all(1))


def on_one_grid(layers: Sequence[Tensor]) -> list[Tensor]:
    """Resize all layers to the largest of their grids."""
    size = largest_grid(layers)
    return [resize(working(layer), size) for layer in layers]
