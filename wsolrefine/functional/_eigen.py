"""Maps that are eigenvectors: which of them, and their sign, by a CAM."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import unit_range


def cam_on(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the CAM on a grid, ``(B, K, N)``, min-maxed; if it is constant there, zero."""
    maps = unit_range(resize(unit_range(cam.detach()), size)).flatten(-2)
    return maps if maps.ndim == 3 else maps[:, None]


def project_on_largest(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Project ``(B, K, N)`` on the eigenspace of the largest eigenvalue of matrices ``(B, N, N)``.

    An eigenvector has no sign, and a multiple eigenvalue has no single vector, but the projection
    of a given vector is unique. Eigenvalues closer than rounding are equal. The result is zero if
    the largest is not above zero, or the projection is zero, up to rounding.
    """
    values, basis = torch.linalg.eigh(matrices)
    margin = rounding_of(values) * values.abs().amax(-1, keepdim=True)
    largest = values[..., -1:]
    chosen = (values >= largest - margin) & (largest > margin)
    parts = (vectors @ basis) * chosen[:, None]
    least = rounding_of(values) * vectors.norm(dim=-1, keepdim=True)
    projected: Tensor = parts @ basis.mT
    return projected.where(parts.norm(dim=-1, keepdim=True) > least, 0.0)


def rounding_of(vectors: Tensor) -> float:
    """Return the relative error that rounding alone may cause in sums over the last axis."""
    return 8 * torch.finfo(vectors.dtype).eps * sqrt(vectors.shape[-1])
