"""Maps that are eigenvectors: which of them, and their sign, by a CAM."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import unit_range


def centered_cam(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the CAM on a grid, ``(B, K, N)``, min-maxed and with a mean of zero."""
    maps = resize(unit_range(cam.detach()), size).flatten(-2)
    maps = maps if maps.ndim == 3 else maps[:, None]
    return maps - maps.mean(-1, keepdim=True)


def project_on_largest(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Project ``(B, K, N)`` on the eigenspace of the largest eigenvalue of matrices ``(B, N, N)``.

    An eigenvector has no sign, and a multiple eigenvalue has no single vector, but the projection
    of a given vector is unique. Eigenvalues closer than rounding are equal; if the largest is not
    above zero by more than rounding, the result is zero.
    """
    values, basis = torch.linalg.eigh(matrices)
    margin = _rounding(values) * values.abs().amax(-1, keepdim=True)
    largest = values[..., -1:]
    chosen = (values >= largest - margin) & (largest > margin)
    projected: Tensor = ((vectors @ basis) * chosen[:, None]) @ basis.mT
    return projected


def above_mean(maps: Tensor, cam: Tensor) -> Tensor:
    """Return what of maps ``(B, K, N)`` is above their means, if they are similar to the CAM.

    The CAM has a mean of zero. A map whose correlation with it is not above zero, by more than
    rounding, becomes zero.
    """
    centered = maps - maps.mean(-1, keepdim=True)
    product = (centered * cam).sum(-1, keepdim=True)
    lengths = centered.norm(dim=-1, keepdim=True) * cam.norm(dim=-1, keepdim=True)
    return centered.relu().where(product > _rounding(maps) * lengths, 0.0)


def _rounding(vectors: Tensor) -> float:
    """Return the relative error that rounding alone may cause in sums over N positions."""
    return 8 * torch.finfo(vectors.dtype).eps * sqrt(vectors.shape[-1])
