"""Gaussian prior pseudo labels: a map widened by its Gaussian, then thresholded into labels."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_count, check_number
from wsolrefine.functional._numeric import images_at_once, split_images, unit_range
from wsolrefine.functional._opencv import opencv
from wsolrefine.functional.gaussian import Gaussian, fit_gaussian, gaussian_map

_LARGEST_SIDE = 2**15 - 2  # OpenCV resizes to at most this


def gppl(cam: Tensor) -> Tensor:
    """Widen each map by the Gaussian fitted to it: ``max(cam, Gaussian)``.

    The CAM is min-maxed, so its scale and offset do not matter. The whole map is used as weights,
    and the Gaussian's peak is 1. The released code fits smaller Gaussians to a band of values, one
    per contour: see :func:`wsolrefine.gppl_released`.

    Args:
        cam: class activation maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``.

    Returns:
        Maps in [0, 1], same shape, differentiable. A map that is constant up to rounding, or not
        finite, is zero.

    Raises:
        TypeError: ``cam`` is not a floating-point tensor.
        ValueError: ``cam`` has another number of axes, or an empty height or width.

    Example:
        >>> import torch
        >>> gppl(torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]))
        tensor([[[0.1353, 1.0000, 1.0000, 1.0000]]])

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Eqs. 5-6.

    """
    check_tensors(cam=(cam, "B [K] H W"))
    # A few maps at a time, so that what is computed on the way stays in a CPU's cache.
    at_once = images_at_once(4 * cam.shape[-2] * cam.shape[-1], cam.device)
    parts = split_images(cam.flatten(0, -3), at_once)
    return torch.cat([_with_gaussian(some) for some in parts]).reshape(cam.shape)


def _with_gaussian(cam: Tensor) -> Tensor:
    maps = unit_range(cam)
    usable = (maps.amax((-2, -1)) > 0)[..., None, None]
    # An unusable map is replaced before the fit, so that its gradient is zero, not NaN.
    safe = maps.where(usable, 1.0)
    prior = gaussian_map(fit_gaussian(safe), (cam.shape[-2], cam.shape[-1]))
    return torch.maximum(safe, prior).where(usable, 0.0).to(cam.dtype)


def pseudo_label(
    cam: Tensor, *, foreground: float = 0.5, background: float = 0.004, ignore_index: int = 255
) -> Tensor:
    """Threshold each map into object (1), background (0) and uncertain (``ignore_index``) pixels.

    Object where ``cam > foreground``, background where ``cam < background``. The paper thresholds
    the map that :func:`wsolrefine.gppl` returns; the released code thresholds the CAM and the
    Gaussian separately, at 0.25 and 0.01.

    Args:
        cam: maps, usually in [0, 1], ``(B, H, W)`` or ``(B, K, H, W)``. They are compared as they
            are, as in the paper: min-max another map first, see :func:`wsolrefine.minmax`.
        foreground: value above which a pixel is object.
        background: value below which a pixel is background.
        ignore_index: label of all other pixels, 0 to 255.

    Returns:
        Labels, uint8, same shape. Not differentiable. NaN pixels are uncertain.

    Raises:
        TypeError: ``cam`` is not a floating-point tensor, or an option is not a number.
        ValueError: ``cam`` has another number of axes, ``foreground < background``, a threshold is
            NaN, or ``ignore_index`` is not from 0 to 255.

    Example:
        >>> import torch
        >>> pseudo_label(torch.tensor([[[0.0, 0.2, 0.7]]]))
        tensor([[[  0, 255,   1]]], dtype=torch.uint8)

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Sec. 3.3 and 4.2.

    """
    check_tensors(cam=(cam, "B [K] H W"))
    background = check_number("background", background, finite=False)
    foreground = check_number("foreground", foreground, finite=False)
    if foreground < background:
        raise ValueError(f"foreground: expected at least background={background}, got {foreground}")
    ignore_index = check_count("ignore_index", ignore_index, low=0, high=255)
    label = torch.full_like(cam, ignore_index, dtype=torch.uint8)
    return label.masked_fill(cam < background, 0).masked_fill(cam > foreground, 1)


def gppl_released(
    cam: Tensor,
    *,
    size: int = 256,
    low: float = 0.1,
    high: float = 0.5,
    shrink: float = 10,
    min_area: float = 20,
) -> Tensor:
    """Return the Gaussian map of SPOL's released code: one Gaussian per contour of a band.

    Each map is divided by its maximum and resized to ``size`` x ``size``; values outside
    ``[low, high]`` are set to zero; every contour of what remains, holes included, whose polygon
    covers at least ``min_area`` pixels gives a Gaussian whose covariance is divided by ``shrink``;
    the result is their maximum. The paper (:func:`wsolrefine.gppl`) fits one Gaussian to the whole
    map. Where the released code fails (no contour, or a degenerate one), nothing is added.

    Args:
        cam: class activation maps >= 0 (after ReLU), ``(B, H, W)`` or ``(B, K, H, W)``; negative
            values count as zero. As in the
            released code an offset matters, and so does the scale of a map whose maximum is near
            the guard of 1e-6 that is added to it.
        size: side of the square result.
        low: smallest value of the band.
        high: largest value of the band.
        shrink: divisor of the covariance.
        min_area: smallest area of a contour's polygon, in pixels of the result.

    Returns:
        Maps in [0, 1], ``(B, size, size)`` or ``(B, K, size, size)``. Computed on the CPU, one
        image at a time, in float32; not differentiable. A map that is not finite is zero.

    Raises:
        TypeError: ``cam`` is not a floating-point tensor, or an option is not a number.
        ValueError: ``cam`` has another number of axes or no values (meta device), ``size`` is
            not from 1 to 32766 (OpenCV's limit), ``shrink`` is not above 0, ``min_area`` is
            negative, or an option is NaN.

    Example:
        >>> import torch
        >>> cam = gaussian_map(Gaussian(torch.tensor([[6.0, 6.0]]), 9 * torch.eye(2)[None]), (14, 14))
        >>> gppl_released(cam, size=28).amax() > 0.9
        tensor(True)

    Reference:
        Wei et al., CVPR 2021. Authors' code: cub200-cam/test.py (commit 7a9d985).

    """  # noqa: E501
    check_tensors(cam=(cam, "B [K] H W"))
    check_values(cam=cam)
    size = check_count("size", size, high=_LARGEST_SIDE)
    low, high = check_number("low", low), check_number("high", high)
    shrink = check_number("shrink", shrink, above=0)
    min_area = check_number("min_area", min_area, low=0, finite=False)
    cv2 = opencv("gppl_released")
    import numpy as np

    result = np.zeros((cam.shape[:-2].numel(), size, size), np.float32)
    maps = cam.float().flatten(0, -3).numpy(force=True)
    for target, raw in zip(result, maps, strict=True):
        if not np.isfinite(raw).all():
            continue
        positive = np.maximum(raw, 0)
        scaled = cv2.resize(positive / (positive.max() + 1e-6), (size, size))  # the authors' guard
        band = np.where((scaled >= low) & (scaled <= high), scaled, 0.0)
        contours, _ = cv2.findContours(
            (band > 0).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE
        )
        for contour in contours:
            if cv2.contourArea(contour) < min_area:
                continue
            filled = cv2.fillPoly(np.zeros_like(band, np.uint8), [contour], 1)
            mean, covariance = fit_gaussian(torch.from_numpy(band * filled).double())
            if torch.linalg.det(covariance) > 0:
                contour_map = gaussian_map(Gaussian(mean, covariance / shrink), (size, size))
                np.maximum(target, contour_map.float().numpy(), out=target)
    return torch.from_numpy(result).reshape(*cam.shape[:-2], size, size).to(cam)
