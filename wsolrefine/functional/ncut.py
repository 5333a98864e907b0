"""Normalized cut: the positions in two groups, of which one is the object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_features
from wsolrefine._options import check_number, check_size
from wsolrefine.functional._eigen import cam_on, project_on_largest
from wsolrefine.functional._grid import limited_grid
from wsolrefine.functional._numeric import (
    are_finite,
    balance,
    is_finite,
    largest,
    outside_autocast,
    unit_range,
    working,
)
from wsolrefine.functional._unit import unit_vectors
from wsolrefine.functional.affinity import on_grid

_WEAK = 1e-5  # weight of an edge between unlike positions, as in the paper


@outside_autocast
def ncut(
    cam: Tensor,
    features: Tensor | Sequence[Tensor],
    *,
    threshold: float = 0.2,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Cut the graph of like positions in two (TokenCut) and return the part that the CAM is in.

    Positions are alike if the cosine of their features reaches the threshold. The second smallest
    eigenvector ``y`` of the graph's Laplacian relaxes the normalized cut of Shi and Malik:

        E[i,j] = 1 if cos(x[i], x[j]) >= threshold, otherwise 1e-5
        (D - E) y = lambda D y,   D = diag(sum over j of E[i,j])
        M = min-max(ReLU(y - mean of y))

    TokenCut's object is where ``y`` exceeds its mean, on the side of the largest ``|y|``. Here the
    sign of ``y`` is that with which it and the CAM correlate positively. If the eigenvalue is
    multiple, up to rounding, ``y`` is the one of its vectors with ``y D y = 1`` whose product with
    the centered CAM is largest. Several layers are resized to one grid, scaled to unit vectors and
    concatenated.

    Args:
        cam: class activation maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``: only their
            correlation with ``y`` counts. The K maps of an image differ in sign alone, unless the
            eigenvalue is multiple.
        features: ``(B, C, h, w)``, or a list of layers with their own C, h and w. Features after a
            ReLU have no negative cosines: raise the threshold for them, or center them.
        threshold: least cosine of positions that are alike, in (-1, 1). 0.2 is the paper's choice.
        size: (height, width) of the grid; None: that of the largest layer, reduced to at most 784
            positions. Time grows with the cube of their number.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, without a graph. Zero where the CAM is
        constant, where the CAM or the features are not finite, where all positions are alike or
        none are, and where the correlation is zero up to rounding.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, or an option is out of range.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.2, 0.0, 0.0]]])
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
        >>> ncut(cam, features)
        tensor([[[1., 1., 0., 0.]]])

    Reference:
        Wang et al., "Self-Supervised Transformers for Unsupervised Object Discovery using
        Normalized Cut", CVPR 2022. Authors' code: object_discovery.py, ``ncut``.

    """
    layers = [layer.detach() for layer in check_features(features, cam)]
    threshold = check_number("threshold", threshold, above=-1, below=1)
    size = limited_grid(layers) if size is None else check_size("size", size)
    finite = are_finite(cam, [is_finite(layer, (1, 2, 3)) for layer in layers])
    units = [unit_vectors(_on_grid(layer, size)).vectors.nan_to_num(0.0) for layer in layers]
    unit = unit_vectors(torch.cat(units, 1)).vectors
    cosines = unit.mT @ unit

    edges = (cosines >= threshold).to(cosines.dtype).clamp_min(_WEAK)
    degree = edges.sum(1, keepdim=True)  # (B, 1, N)
    scale = degree.rsqrt()
    # The generalized problem as one of a symmetric matrix, in which smallest becomes largest. Its
    # trivial eigenvector, of the constant map and the eigenvalue 1, gets -1.
    trivial = (degree / degree.sum(2, keepdim=True)).sqrt()
    graph = scale.mT * edges * scale - 2 * trivial.mT * trivial

    start = cam_on(cam, size)
    start = (start - start.mean(2, keepdim=True)) * scale
    second = project_on_largest(start, graph) * scale
    maps = (second - second.mean(2, keepdim=True)).relu().reshape(*cam.shape[:-2], *size)
    return unit_range(maps).where(finite[..., None, None], 0.0).to(cam.dtype)


def _on_grid(layer: Tensor, size: tuple[int, int]) -> Tensor:
    values = working(layer)
    if tuple(values.shape[-2:]) == size:
        return values  # of any scale at every position
    return on_grid(values * balance(largest(values, (1, 2, 3))), size)
