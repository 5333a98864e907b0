"""ConfSeg: the pixels of a map that lie clearly above or clearly below its mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.functional._numeric import balance, largest, rounding, working


class ConfSeg(NamedTuple):
    """Three boolean maps of one shape: ``confident`` is ``foreground`` or ``background``."""

    confident: Tensor
    foreground: Tensor
    background: Tensor


def confseg(cam: Tensor) -> ConfSeg:
    """Split each map at its own thresholds into confident foreground, background and the rest.

    ``confident = |cam - mu1| > mu2`` with ``mu1`` the mean of the map and ``mu2`` the mean of
    ``|cam - mu1|``: the same as ``cam > mu1 + mu2`` (foreground) or ``cam < mu1 - mu2``
    (background). A positive affine change of the map changes nothing.

    Args:
        cam: maps of any range, ``(..., H, W)``.

    Returns:
        Boolean maps ``(confident, foreground, background)``, each ``(..., H, W)``; all false for
        a map that is constant up to rounding or not finite. Not differentiable.

    Raises:
        TypeError: ``cam`` is not a floating-point tensor.
        ValueError: ``cam`` has fewer than two axes, or an empty height or width.

    Example:
        >>> import torch
        >>> split = confseg(torch.tensor([[[0.0, 0.4, 0.5, 0.6, 1.0]]]))
        >>> split.foreground.int(), split.background.int()
        (tensor([[[0, 0, 0, 0, 1]]], dtype=torch.int32), tensor([[[1, 0, 0, 0, 0]]], dtype=torch.int32))

    Reference:
        Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised
        Augmentation", WACV 2021, Eqs. 2-4 and 7.

    """  # noqa: E501
    check_tensors(cam=(cam, "... H W"))
    maps = working(cam)
    scale = balance(largest(maps))
    maps = maps * scale
    low, high = (
        threshold[..., None, None] for threshold in _thresholds(maps, rounding(cam) * scale)
    )
    foreground, background = maps > high, maps < low
    return ConfSeg(foreground | background, foreground, background)


def confseg_thresholds(cam: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two thresholds derived from each map, ``(mu1 - mu2, mu1 + mu2)``.

    ``mu1`` is the mean of the map and ``mu2`` the mean of ``|cam - mu1|``. Those of
    ``minmax(cam)`` can be passed to :func:`wsolrefine.scg` as ``background`` and ``foreground``.

    Args:
        cam: maps of any range, ``(..., H, W)``.

    Returns:
        ``(low, high)`` in the units of the map, each ``(...)``, differentiable. For a map constant
        up to rounding these are its minimum and maximum, and no pixel lies beyond them; a map that
        is not finite gives NaN.

    Raises:
        TypeError: ``cam`` is not a floating-point tensor.
        ValueError: ``cam`` has fewer than two axes, or an empty height or width.

    Example:
        >>> import torch
        >>> low, high = confseg_thresholds(torch.tensor([[[0.0, 0.4, 0.5, 0.6, 1.0]]]))
        >>> low, high
        (tensor([0.2600]), tensor([0.7400]))

    Reference:
        Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised
        Augmentation", WACV 2021, Eqs. 2-4.

    """
    check_tensors(cam=(cam, "... H W"))
    maps = working(cam)
    scale = balance(largest(maps))
    low, high = _thresholds(maps * scale, rounding(cam) * scale)
    scale = scale[..., 0, 0]
    return (low / scale).to(cam.dtype), (high / scale).to(cam.dtype)


def _thresholds(maps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    mean = maps.mean((-2, -1))
    spread = (maps - mean[..., None, None]).abs().mean((-2, -1))
    least, most = maps.amin((-2, -1)), maps.amax((-2, -1))
    # The mean of equal numbers can differ from them by rounding, and ``>`` would notice.
    flat = most - least <= noise[..., 0, 0]
    low, high = torch.where(flat, least, mean - spread), torch.where(flat, most, mean + spread)
    broken = (most - least).isfinite().logical_not()
    return low.masked_fill(broken, torch.nan), high.masked_fill(broken, torch.nan)
