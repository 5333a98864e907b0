"""Affinity of positions: how alike their features of several layers are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_features
from wsolrefine._options import check_number, check_size
from wsolrefine.functional._graphs import in_graph
from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import (
    clamp_own,
    largest,
    outside_autocast,
    raised,
    root,
    rounding,
    working,
)
from wsolrefine.functional._unit import unit_vectors

_LEAST_DEVIATION = 1e-3  # of a channel, as a fraction of the mean over channels


@outside_autocast
def feature_affinity(
    features: Tensor | Sequence[Tensor], *, size: tuple[int, int], power: float = 3.0
) -> Tensor:
    """Return how alike the positions of an image are, from the features of one or more layers.

    Each layer is resized to ``size`` (averaged over cells where it is finer, bilinear where it is
    coarser). Each channel is centered and divided by its standard deviation over the grid, so that
    what all positions share does not count. Layers are scaled to the same mean squared length and
    concatenated to one vector x per position:

        A[i,j] = max(0, cos(x[i], x[j]))^power

    Args:
        features: ``(B, C, h, w)``, or a list of layers with their own C, h and w.
        size: (height, width) of the grid.
        power: exponent > 0; the larger, the fewer positions are alike.

    Returns:
        ``(B, N, N)`` in [0, 1] with N = height * width, symmetric, in raster order,
        differentiable. Rows and columns of a position whose features are all at the mean are zero,
        and so is an image whose features are not finite.

    Raises:
        TypeError: a layer is not a floating-point tensor, dtypes differ, or an option is no number.
        ValueError: shapes or devices disagree, or an option is out of range.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0]], [[0.0, 0.5, 1.0]]]])
        >>> feature_affinity(features, size=(1, 3))
        tensor([[[1.0000, 0.1250, 0.0000],
                 [0.1250, 1.0000, 0.0000],
                 [0.0000, 0.0000, 1.0000]]])

    Reference:
        The cosine affinity of self-supervised features of Wang et al., "Self-Supervised
        Transformers for Unsupervised Object Discovery using Normalized Cut", CVPR 2022, Eq. 2, here
        of a classifier's layers, standardized and without a threshold.

    """
    layers = check_features(features)
    size = check_size("size", size)
    power = check_number("power", power, above=0)
    unit = unit_vectors(torch.cat([_standardized(layer, size) for layer in layers], 1))
    affinity = raised(clamp_own(unit.vectors.mT @ unit.vectors, 0, 1), power)
    return affinity.where(unit.finite[:, None, None], 0.0).to(layers[0].dtype)


def _standardized(layer: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a layer on the grid, with channels and layers of equal weight."""
    centered = centered_on(layer, size)
    deviation = root(centered.square().mean((2, 3), keepdim=True))
    # A channel that hardly changes is mostly noise: it is not raised to the level of the others.
    least = _LEAST_DEVIATION * deviation.mean(1, keepdim=True)
    return rms_normalized(centered / (deviation + least).where(least > 0, 1.0))


def centered_on(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, C, H, W)`` and subtract their means; what is within rounding is zero.

    They are averaged over cells where they are finer. Their scale per image, which is lost, is such
    that no sum of squares overflows or vanishes.
    """
    values = working(maps)
    peak = largest(values, (1, 2, 3))
    values = on_grid(values / peak.where(peak != 0, 1.0), size)  # NaN where it is not finite
    centered = values - values.mean((-2, -1), keepdim=True)
    # At a position at the mean, rounding alone would make a direction.
    return centered.masked_fill(centered.abs() <= rounding(values), 0.0)  # NaN stays


def on_grid(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, C, H, W)`` bilinearly, after averaging over cells where they are finer."""
    given = (maps.shape[-2], maps.shape[-1])
    finest = (min(given[0], size[0]), min(given[1], size[1]))
    if in_graph() and given != finest:
        rows, columns = (_means_of_cells(*sides, maps) for sides in zip(given, finest, strict=True))
        return resize(rows @ maps @ columns.mT, size)
    return resize(F.adaptive_avg_pool2d(maps, finest), size)


def _means_of_cells(given: int, cells: int, like: Tensor) -> Tensor:
    """Return the averages of adaptive pooling as a matrix, for ONNX, which has no such operation.

    Cell i averages from floor(i given / cells) to ceil((i + 1) given / cells).
    """
    cell = torch.arange(cells, device=like.device)[:, None]
    pixel = torch.arange(given, device=like.device)
    inside = ((pixel + 1) * cells > cell * given) & (pixel * cells < (cell + 1) * given)
    return inside.to(like.dtype) / inside.sum(1, keepdim=True)


def rms_normalized(maps: Tensor) -> Tensor:
    """Divide vectors ``(B, C, h, w)`` by the root mean square of their lengths, if it is not 0."""
    length = root(maps.square().sum(1, keepdim=True).mean((2, 3), keepdim=True))
    return maps / length.where(length > 0, 1.0)
