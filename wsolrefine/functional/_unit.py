"""Feature maps as unit vectors, one per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.functional._graphs import in_graph, values_are_hidden
from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import working


class UnitVectors(NamedTuple):
    """Unit vectors; which of them are not zero; which images are finite."""

    vectors: Tensor  # (B, C, N)
    alive: Tensor  # (B, N)
    finite: Tensor  # (B,)


def unit_vectors(features: Tensor) -> UnitVectors:
    """Divide each pixel's feature vector by its length; a zero vector stays zero (a dead pixel).

    Products of unit vectors are cosines, and the scale of each pixel's features does not matter. An
    image is finite when all its values are.
    """
    pixels = working(features).flatten(2)
    # Each pixel is first divided by its own largest value: its squares then neither overflow nor
    # vanish, whatever the other pixels are. The scale cancels, so it needs no gradient.
    still = pixels.detach()
    peak = torch.maximum(still.amax(1), -still.amin(1))  # (B, N)
    alive = peak > 0
    scale = peak.where(alive, 1.0)[:, None]
    # In groups of channels: a temporary as large as the features costs more than the sums.
    squares = torch.zeros_like(peak)
    for part in torch.split(pixels, _channels_at_once(pixels), dim=1):
        squares = squares + (part / scale).square().sum(1)
    length = squares.where(alive, 1.0).sqrt()[:, None]
    # Two divisions, because their product may overflow.
    return UnitVectors((pixels / scale).div_(length), alive, peak.isfinite().all(1))


class Cosines(NamedTuple):
    """The cosines of an image's pixels; which pixels are not zero; which images are finite."""

    matrix: Tensor  # (B, N, N)
    alive: Tensor  # (B, N)
    finite: Tensor  # (B,)


def cosines(features: Tensor) -> Cosines:
    """Return the products of the unit vectors of all pixels."""
    if features.device.type != "cpu" or values_are_hidden():
        return _of_unit_vectors(features)
    products = _products(features)
    usual = _of_usual_length(products)
    if bool(usual.all()):
        return _divided(products)
    # Each image by itself, so that none depends on the others, down to the last bit.
    chosen, rest = (which.nonzero()[:, 0] for which in (usual, ~usual))
    parts = [_of_unit_vectors(features[rest])]
    if len(chosen):
        parts.append(_divided(_products(features[chosen])))
    place = torch.cat([rest, chosen]).argsort()
    return Cosines(*(torch.cat(several)[place] for several in zip(*parts, strict=True)))


def _of_unit_vectors(features: Tensor) -> Cosines:
    unit = unit_vectors(features)
    return Cosines(unit.vectors.mT @ unit.vectors, unit.alive, unit.finite)


def _products(features: Tensor) -> Tensor:
    pixels = working(features).flatten(2)
    return pixels.mT @ pixels


def _of_usual_length(products: Tensor) -> Tensor:
    """Return of which images ``(B,)`` the cosines are products divided by lengths.

    Not if a pixel is dead or not finite, or lengths are so extreme that products may vanish or
    overflow, in the result or, as cubes and fifth powers of inverse lengths, in its derivatives.
    """
    squares = products.detach().diagonal(dim1=1, dim2=2)
    return (squares.amin(1) > 2.0**-48) & (squares.amax(1) < 2.0**48)  # false for NaN


def _divided(products: Tensor) -> Cosines:
    """Divide products by lengths, which are on their diagonal: no pass over the features."""
    squares = products.diagonal(dim1=1, dim2=2)
    inverse = squares.rsqrt()
    matrix = products * inverse[:, None] * inverse[:, :, None]
    alive = torch.ones_like(squares, dtype=torch.bool)
    return Cosines(matrix, alive, alive.all(1))


def _channels_at_once(pixels: Tensor) -> int:
    batch, channels, count = pixels.shape
    # A compiler makes no temporary, and a graph's batch may be of any size. On a GPU each operation
    # costs more than the temporary.
    if in_graph() or pixels.device.type != "cpu":
        return channels
    return max(1, channels // 16, 2**18 // max(1, batch * count))


def on_one_grid(layers: Sequence[Tensor]) -> list[Tensor]:
    """Resize all layers to the largest of their grids."""
    size = largest_grid(layers)
    return [resize(working(layer), size) for layer in layers]
