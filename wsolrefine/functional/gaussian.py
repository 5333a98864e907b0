"""The Gaussian of a map: its weighted mean and covariance, and the map they describe."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, finfo

from wsolrefine._check import check_tensors
from wsolrefine._options import check_size
from wsolrefine.functional._numeric import outside_autocast, working


class Gaussian(NamedTuple):
    """Mean ``(..., 2)`` as x, y and covariance ``(..., 2, 2)``, in pixels and squared pixels."""

    mean: Tensor
    covariance: Tensor


@outside_autocast
def fit_gaussian(weights: Tensor) -> Gaussian:
    """Fit one Gaussian to each map, every pixel a sample weighted by its value.

    ``mean = sum w p / sum w`` and ``covariance = sum w (p - mean)(p - mean)^T / sum w`` over the
    pixel centers ``p = (x, y)``, ``x`` from 0 to W - 1.

    Args:
        weights: maps, ``(..., H, W)``; negative values count as zero.

    Returns:
        Gaussian with mean ``(..., 2)`` as x, y in pixels and covariance ``(..., 2, 2)`` in squared
        pixels, differentiable. A map without weight gives the grid's center and a zero covariance;
        one that is not finite gives NaN.

    Raises:
        TypeError: ``weights`` is not a floating-point tensor.
        ValueError: ``weights`` has fewer than two axes, or an empty height or width.

    Example:
        >>> import torch
        >>> fit_gaussian(torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]))
        Gaussian(mean=tensor([[2., 0.]]), covariance=tensor([[[1., 0.],
                 [0., 0.]]]))

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Eq. 5.

    """
    check_tensors(weights=(weights, "... H W"))
    maps = working(weights).clamp_min(0)
    # With a peak of 1 the sum can neither overflow nor vanish.
    peak = maps.amax((-2, -1), keepdim=True)
    share = maps / peak.where(peak != 0, 1.0)
    total = share.sum((-2, -1), keepdim=True)
    share = share / total.where(total != 0, 1.0)  # (..., H, W), sums to 1, or to 0

    y, x = (torch.arange(n, dtype=share.dtype, device=share.device) for n in share.shape[-2:])
    mean = torch.stack([_mean(share.sum(-2), x), _mean(share.sum(-1), y)], -1)
    mean = mean.where(total[..., 0] != 0, torch.stack([x.mean(), y.mean()]))
    dx, dy = x - mean[..., :1], y - mean[..., 1:]
    xx = (share.sum(-2) * dx.square()).sum(-1)
    yy = (share.sum(-1) * dy.square()).sum(-1)
    xy = (dy[..., None, :] @ share @ dx[..., None])[..., 0, 0]
    covariance = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)
    return Gaussian(mean.to(weights.dtype), covariance.to(weights.dtype))


def gaussian_map(gaussian: Gaussian, size: tuple[int, int]) -> Tensor:
    """Evaluate Gaussians on a pixel grid, scaled to 1 at the mean.

    ``exp(-1/2 d^T covariance^-1 d)`` with ``d`` from the mean to the pixel center. The paper
    writes the density, whose peak is far below 1 and cannot be compared with a CAM; the released
    code, as here, leaves the constant out. A singular covariance is its limit: a Gaussian along
    a line, or a single point, and 0 elsewhere.

    Args:
        gaussian: mean ``(..., 2)`` as x, y and covariance ``(..., 2, 2)``, in pixels. That the
            covariance is symmetric and positive semidefinite is not checked.
        size: height and width of the maps.

    Returns:
        Maps in [0, 1], ``(..., H, W)``; zero where the Gaussian is not finite. Differentiable
        where the covariance is not singular.

    Raises:
        TypeError: mean or covariance is not a floating-point tensor, dtypes differ, or ``size``
            does not hold integers.
        ValueError: their shapes disagree, or ``size`` is not two integers >= 1.

    Example:
        >>> import torch
        >>> gaussian = Gaussian(torch.tensor([1.0, 0.0]), torch.eye(2))
        >>> gaussian_map(gaussian, (1, 4))
        tensor([[0.6065, 1.0000, 0.6065, 0.1353]])

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Eq. 6. Authors' code: utils/tools.py, ``gaussian`` (commit 7a9d985).

    """
    is_pair = isinstance(gaussian, tuple) and len(gaussian) == 2
    if not is_pair:
        kind = type(gaussian).__name__
        raise TypeError(f"gaussian: expected a Gaussian, a pair of mean and covariance, got {kind}")
    gaussian = Gaussian(*gaussian)
    check_tensors(mean=(gaussian.mean, "... 2"), covariance=(gaussian.covariance, "... 2 2"))
    batch = gaussian.mean.shape[:-1]
    if gaussian.covariance.shape[:-2] != batch:
        raise ValueError(
            f"covariance: expected shape {(*batch, 2, 2)} as mean {tuple(gaussian.mean.shape)}, "
            f"got {tuple(gaussian.covariance.shape)}"
        )
    size = check_size("size", size)
    mean, covariance = working(gaussian.mean), working(gaussian.covariance)
    finite = mean.isfinite().all(-1) & covariance.isfinite().all(-1).all(-1)

    y, x = (torch.arange(n, dtype=mean.dtype, device=mean.device) for n in size)
    dx = (x - mean[..., :1])[..., None, :]  # (..., 1, W)
    dy = (y - mean[..., 1:])[..., :, None]  # (..., H, 1)
    xx, xy, yy = (covariance[..., i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))

    # d^T covariance^-1 d as the distance along the axis of larger variance plus that of the rest
    # of the other axis: exact for thin Gaussians too, where the determinant would cancel.
    wide = xx >= yy
    (du, dv), (uu, vv) = (
        (torch.where(wide, a, b), torch.where(wide, b, a)) for a, b in ((dx, dy), (xx, yy))
    )
    # Positions are known to eps times the extent of the grid, variances to eps of themselves.
    eps = finfo(mean.dtype).eps
    position = (256 * eps * max(size)) ** 2
    uu = uu.clamp_min(0) + position
    slope = _within(xy, uu) / uu  # in [-1, 1] anyway, unless the matrix is no covariance
    rest = (vv - slope * xy).clamp_min(0) + 8 * eps * (slope * xy).abs() + position
    # 64 deviations from the mean the value is 0, and its gradient too, however far that is.
    width, breadth = uu.sqrt(), rest.sqrt()
    du = _within(du, 64 * width)
    along, across = du / width, _within(dv - slope * du, 64 * breadth) / breadth
    values = torch.exp(-(along.square() + across.square()) / 2)
    return values.where(finite[..., None, None], 0.0).to(gaussian.mean.dtype)


def _within(values: Tensor, bound: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(values, -bound), bound)


def _mean(share: Tensor, position: Tensor) -> Tensor:
    """Return the mean position, summed from the largest share so that a single one is exact."""
    largest = position[share.argmax(-1, keepdim=True)][..., 0]
    return largest + (share * (position - largest[..., None])).sum(-1)
