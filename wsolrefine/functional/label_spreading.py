"""Label spreading: object and background spread from a CAM over positions that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_features, check_tensors
from wsolrefine._options import check_number, check_size
from wsolrefine.functional._grid import limited_grid, resize
from wsolrefine.functional._numeric import (
    are_finite,
    clamp_own,
    images_at_once,
    is_finite,
    outside_autocast,
    split_images,
    unit_range,
    working,
)
from wsolrefine.functional.affinity import centered_on, feature_affinity, rms_normalized

_MOST_SPREADING = 0.999  # 220 steps; the limit of 1 has no solution
_TOLERANCE = 1e-4  # relative error of the solution
_PRIOR = 0.3  # of background inside the image; on its border it is 1 more


@outside_autocast
def label_spreading(
    cam: Tensor,
    features: Tensor | Sequence[Tensor],
    image: Tensor | None = None,
    *,
    alpha: float = 0.95,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Refine a CAM by spreading object and background over positions of like features and colors.

    A confident CAM is the seed f of the object, and its opposite, with a prior for the border of
    the image, the seed b of the background. Both spread along the affinity A of positions
    (:func:`wsolrefine.feature_affinity`, times that of their colors c); the result is the share of
    the object:

        A[i,j] = feature_affinity[i,j] * exp(-|c[i] - c[j]|^2 / 2)
        S = D^-1/2 A D^-1/2,   D = diag(sum over j of A[i,j])
        f = s^2,   b = (1 - s)^2 (0.3 + 1 on the border),   each divided by its sum
        (I - alpha S) F = f,   (I - alpha S) G = b
        M = F / (F + G)

    with ``s`` the min-maxed CAM, and colors centered and scaled to a mean squared length of 1. The
    systems are solved by Chebyshev iteration to a relative error of 1e-4: products alone, the same
    number of them for every image. The prior is ours.

    Args:
        cam: class activation maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``; negative values
            count as zero.
        features: ``(B, C, h, w)``, or a list of layers with their own C, h and w.
        image: colors in any range, ``(B, C, H', W')``, usually C = 3; None: features alone.
        alpha: share of what a position gets from others, in [0, 0.999]; at 0 nothing spreads. Time
            grows with 1 / sqrt(1 - alpha).
        size: (height, width) of the grid; None: that of the largest layer, reduced to at most 784
            positions. Memory is a few ``(N, N)``: on a CPU those of one image at a time, on a GPU
            those of as many images as fill 256 MB each.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, differentiable. Zero for a map whose CAM
        is constant or not finite, and for an image whose features or colors are not finite.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not a
            number.
        ValueError: shapes or devices disagree, or ``alpha`` or ``size`` is out of range.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[1.0, 0.4, 0.4, 0.0]]])
        >>> features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
        >>> label_spreading(cam, features)
        tensor([[[0.8208, 0.7940, 0.1415, 0.1246]]])

    Reference:
        Zhou et al., "Learning with Local and Global Consistency", NIPS 2003, Sec. 2, with equal
        masses of the two classes.

    """
    layers = check_features(features, cam)
    if image is not None:
        check_tensors(cam=(cam, "B [K] H W"), image=(image, "B C H' W'"))
    alpha = check_number("alpha", alpha, low=0, high=_MOST_SPREADING)
    size = limited_grid(layers) if size is None else check_size("size", size)

    start = unit_range(resize(unit_range(cam.relu()), size))
    start = (start if cam.ndim == 4 else start[:, None]).flatten(2)  # (B, K, N)
    at_once = images_at_once(start.shape[-1] ** 2, cam.device)
    blocks = [split_images(one, at_once) for one in (_seeds(start, size), *layers)]
    colors = [None] * len(blocks[0]) if image is None else split_images(image, at_once)
    spread = [
        _spread(_affinity(some, color, size), seeds, alpha)
        for color, seeds, *some in zip(colors, *blocks, strict=True)
    ]
    inside, outside = torch.cat(spread).clamp_min(0).chunk(2, 1)
    total = inside + outside
    share = (inside / total.where(total > 0, 1.0)).reshape(*cam.shape[:-2], *size)
    images = layers if image is None else [*layers, image]
    finite = are_finite(cam, [is_finite(one, (1, 2, 3)) for one in images])
    seen = (start > 0).any(2).reshape(cam.shape[:-2])
    return share.where((seen & finite)[..., None, None], 0.0).to(cam.dtype)


def _seeds(start: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the seeds of the objects, then those of their backgrounds, ``(B, 2 K, N)``."""
    border = F.pad(start.new_zeros([max(side - 2, 0) for side in size]), (1, 1, 1, 1), value=1.0)
    prior = _PRIOR + border[: size[0], : size[1]].flatten()
    seeds = torch.cat([start**2, (1 - start) ** 2 * prior], 1)
    total = seeds.sum(2, keepdim=True)
    return seeds / total.where(total > 0, 1.0)


def _affinity(layers: Sequence[Tensor], image: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Return how alike positions are, ``(B, N, N)``, in their features and colors."""
    affinity = feature_affinity([working(layer) for layer in layers], size=size)
    if image is None:
        return affinity
    colors = rms_normalized(centered_on(image, size)).flatten(2)
    # |c[i] - c[j]|^2 as one product.
    half = colors.square().sum(1, keepdim=True) / -2
    ones = torch.ones_like(half)
    exponent = torch.cat([colors, half, ones], 1).mT @ torch.cat([colors, ones, half], 1)
    return affinity.mul_(clamp_own(exponent, None, 0).exp_())


def _spread(affinity: Tensor, seeds: Tensor, alpha: float) -> Tensor:
    """Solve ``(I - alpha S) x = seeds``, where the eigenvalues of S are in [-1, 1].

    Chebyshev iteration, Golub and Van Loan, "Matrix Computations", 4th ed., Sec. 11.2.8: of all
    polynomials of a degree, this one has the smallest error. The seeds ``(B, K, N)`` are rows,
    because few columns make a slow product.
    """
    if alpha <= _TOLERANCE / 2:
        return seeds  # within the tolerance
    degree = affinity.sum(1, keepdim=True)
    scale = alpha**0.5 * degree.where(degree > 0, 1.0).rsqrt()  # (B, 1, N)
    similarity = affinity.mul_(scale).mul_(scale.mT)  # alpha S
    # The error falls by `rate` a step: the interval of eigenvalues is [1 - alpha, 1 + alpha].
    rate = alpha / (1 + sqrt(1 - alpha**2))
    before, result, weight = seeds, torch.baddbmm(seeds, seeds, similarity), 2.0
    for _ in range(ceil(log(_TOLERANCE / 2) / log(rate)) - 1):
        weight = 1 / (1 - alpha**2 / 4 * weight)
        step = torch.baddbmm(seeds, result, similarity)
        before, result = result, torch.lerp(before, step, weight)
    return result
