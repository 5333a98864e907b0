"""Rescaling of maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_tensors


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
        (for the rows of a correlation); the usual normalisation of a CAM.

    """
    check_tensors(maps=(maps, "... H W"))
    return rescale(working(maps), (-2, -1), flat=rounding(maps)).to(maps.dtype)


def rounding(maps: Tensor) -> Tensor:
    """Return the span, ``(..., 1, 1)``, below which a map holds nothing but rounding."""
    return 8 * torch.finfo(maps.dtype).eps * working(maps).abs().amax((-2, -1), keepdim=True)


def rescale(values: Tensor, dim: int | tuple[int, ...], *, flat: Tensor | float) -> Tensor:
    """Min-max along ``dim``; where the span is at most ``flat``, or not finite, return zero."""
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    span = high - low
    signal = (span > flat) & (span < torch.inf)  # false for NaN
    # A safe divisor before the division keeps NaN out of the backward pass.
    return torch.where(signal, (values - low) / span.where(signal, 1.0), 0.0)


def working(tensor: Tensor) -> Tensor:
    """Return the tensor in the dtype that sums are taken in: float32 for half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def is_finite(tensor: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return, without a copy of the tensor, whether all values along ``dim`` are finite."""
    # A sum could overflow although every value is finite; the extremes cannot.
    return tensor.amax(dim).isfinite() & tensor.amin(dim).isfinite()


def are_finite(cam: Tensor, images: Sequence[Tensor]) -> Tensor:
    """Return, in the batch shape of the CAM, which maps are finite in finite images.

    ``images`` holds one boolean tensor ``(B,)`` for each layer of features.
    """
    finite = is_finite(cam, (-2, -1))
    for image in images:
        finite = finite & (image if finite.ndim == 1 else image[:, None])
    return finite
