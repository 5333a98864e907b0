"""Rescaling of maps."""

from __future__ import annotations

from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.functional._numeric import unit_range


def minmax(maps: Tensor) -> Tensor:
    """Rescale each map to [0, 1]; a map constant up to rounding, or not finite, becomes zero.

    ``(map - min) / (max - min)`` over the last two axes. A span within rounding of the largest
    magnitude carries no signal: dividing by it would turn rounding noise into a full-scale map.

    Args:
        maps: maps of any range, ``(..., H, W)``.

    Returns:
        New tensor in [0, 1], same shape, dtype and device; differentiable.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor.
        ValueError: ``maps`` has fewer than two axes, or an empty height or width.

    Example:
        >>> import torch
        >>> minmax(torch.tensor([[[2.0, 4.0], [6.0, 2.0]]]))
        tensor([[[0.0000, 0.5000],
                 [1.0000, 0.0000]]])

    Reference:
        Pan et al., "Unveiling the Potential of Structure Preserving for WSOL", CVPR 2021, Eq. 9
        (for the rows of a correlation); the usual normalization of a CAM.

    """
    check_tensors(maps=(maps, "... H W"))
    return unit_range(maps).to(maps.dtype)
