"""Non-maximum suppression of soft edge maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.functional._numeric import balance, largest, outside_autocast

SIGMA = 2.0
"""Standard deviation, in pixels, of the Gaussian that precedes the direction of an edge. Its
variance is that of the triangle filter of radius 4 which structured edge detection introduced."""


@outside_autocast
def suppress_non_maxima(edges: Tensor) -> Tensor:
    """Keep the ridge of each soft edge: values that are not smaller than those across the edge.

    The direction across an edge is that in which the map, smoothed with a Gaussian of 2 pixels,
    curves most: the eigenvector of its second derivatives with the largest absolute eigenvalue,

        angle = atan2(2 s d_xy, s (d_xx - d_yy)) / 2,   s = 1 if d_xx + d_yy > 0, else -1

    A value is kept if, up to rounding, it is at least as large as both values one pixel away in
    that direction, each interpolated between the four pixels around it; otherwise it becomes 0. The
    map is extended by its border values, so the direction is less certain on the outermost pixels.

    Args:
        edges: soft edge maps of any scale, ``(B, H, W)``.

    Returns:
        Maps of the same shape and dtype, with each value unchanged or 0. Equal values are all kept:
        a constant map, or one with only two values, is unchanged and needs
        :func:`wsolrefine.thin`. Values around NaN become 0. Differentiable through the
        values that are kept.

    Raises:
        TypeError: ``edges`` is not a floating-point tensor.
        ValueError: ``edges`` has another number of axes.

    Example:
        >>> import torch
        >>> ramp = torch.tensor([0.1, 0.5, 0.9, 0.4, 0.1])
        >>> suppress_non_maxima(ramp.expand(1, 3, 5))
        tensor([[[0.0000, 0.0000, 0.9000, 0.0000, 0.0000],
                 [0.0000, 0.0000, 0.9000, 0.0000, 0.0000],
                 [0.0000, 0.0000, 0.9000, 0.0000, 0.0000]]])

    Reference:
        Canny, "A Computational Approach to Edge Detection", PAMI 1986; the direction from second
        derivatives: Steger, "An Unbiased Detector of Curvilinear Structures", PAMI 1998.

    """
    check_tensors(edges=(edges, "B H W"))
    values = edges.detach()
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    values = values * balance(largest(values))
    cosine, sine = _across(values)
    padded = F.pad(values[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]

    def beside(down: int, right: int) -> Tensor:
        height, width = values.shape[1:]
        return padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    keep = torch.ones_like(values, dtype=torch.bool)
    slack = 1 + 8 * torch.finfo(values.dtype).eps
    downwards = sine >= 0  # the cosine is never negative
    for way in (1, -1):
        row = torch.where(downwards, beside(way, 0), beside(-way, 0))
        corner = torch.where(downwards, beside(way, way), beside(-way, way))
        # Interpolated by lerp, which leaves equal values exactly equal.
        level = values.lerp(beside(0, way), cosine)
        keep &= values * slack >= level.lerp(row.lerp(corner, cosine), sine.abs())
    return edges.where(keep, torch.zeros_like(edges))


def _across(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine (not negative) and sine of the direction across the edge at each pixel."""
    radius = round(4 * SIGMA)
    offset = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = (-(offset**2) / (2 * SIGMA**2)).exp()
    kernel = kernel / kernel.sum()
    border = radius + 1  # one pixel more, for the derivatives
    smooth = F.pad(values[:, None], (border,) * 4, mode="replicate")
    smooth = F.conv2d(F.conv2d(smooth, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]
    xx = smooth[:, 1:-1, 2:] - 2 * smooth[:, 1:-1, 1:-1] + smooth[:, 1:-1, :-2]
    yy = smooth[:, 2:, 1:-1] - 2 * smooth[:, 1:-1, 1:-1] + smooth[:, :-2, 1:-1]
    diagonal = smooth[:, 2:, 2:] + smooth[:, :-2, :-2] - smooth[:, 2:, :-2] - smooth[:, :-2, 2:]
    upwards = (xx + yy > 0).to(xx.dtype) * 2 - 1
    angle = torch.atan2(upwards * diagonal / 2, upwards * (xx - yy)) / 2
    return angle.cos(), angle.sin()
