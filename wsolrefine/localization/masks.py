"""From maps to masks and boxes."""

from __future__ import annotations

from numbers import Real
from operator import index
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import working
from wsolrefine.functional.boxes import union_box
from wsolrefine.functional.components import largest_component

Parts = Literal["largest", "all"]
"""What is kept of a mask with several components."""

MASK_SIDE = 1024
"""Masks are binarized at this many pixels on the longer side at most, and enlarged from there: a
map of 14x14 cells holds nothing finer, and an image of 100 megapixels needs no 800 MB of labels."""


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, K, h, w)`` to ``size`` (height, width), bilinear."""
    if tuple(maps.shape[-2:]) == tuple(size):  # also of half precision, without a copy
        return maps
    return resize(working(maps), size).to(maps.dtype)


def binarize(maps: Tensor, threshold: float, parts: Parts = "largest") -> Tensor:
    """Return masks of maps ``(B, K, H, W)``: the pixels above the threshold, or their largest part.

    A part is an 8-connected component; of two of the same size the first in reading order stays.

    Example:
        >>> import torch
        >>> binarize(torch.tensor([[[[0.9, 0.1, 0.9, 0.8]]]]), 0.5).int()
        tensor([[[[0, 0, 1, 1]]]], dtype=torch.int32)

    """
    mask = maps > threshold
    return mask if parts == "all" else largest_component(mask)


def masks_and_boxes(
    maps: Tensor, size: tuple[int, int], threshold: float, parts: Parts
) -> tuple[Tensor, Tensor]:
    """Return masks ``(B, K, *size)`` of maps on any grid, and the boxes around them."""
    masks = masks_of(maps, size, threshold, parts)
    return masks, union_box(masks)


def masks_of(maps: Tensor, size: tuple[int, int], threshold: float, parts: Parts) -> Tensor:
    """Return masks ``(B, K, *size)`` of maps on any grid."""
    return _enlarge_masks(binarize(enlarge(maps, mask_size(size)), threshold, parts), size)


def _enlarge_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize boolean masks ``(B, K, h, w)`` to ``size``, each pixel from the nearest center."""
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return F.interpolate(masks.byte(), size=size, mode="nearest-exact").bool()


def mask_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which the mask of an image of this size is binarized."""
    height, width = size
    scale = min(1.0, MASK_SIDE / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def check_size(size: Any) -> tuple[int, int]:
    """Return (height, width) as integers, or raise unless they are two of at least 1."""
    try:
        height, width = (index(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(f"size: expected (height, width) in whole pixels, got {size!r}")
    return height, width


def check_threshold(threshold: float) -> None:
    """Raise unless maps in [0, 1] can be binarized there."""
    if not isinstance(threshold, Real):
        kind = type(threshold).__name__
        raise TypeError(f"threshold: expected a number in [0, 1), got {kind}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected a number in [0, 1), got {threshold}")


def check_parts(parts: str) -> None:
    """Raise unless it is one of the two."""
    if parts not in get_args(Parts):
        raise ValueError(f"parts: expected 'largest' or 'all', got {parts!r}")
