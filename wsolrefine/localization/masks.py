"""From maps to masks and boxes."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from wsolrefine._options import check_choice, check_number
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


def check_threshold(threshold: Any) -> float:
    """Return a threshold at which maps in [0, 1] can be binarized, or raise."""
    return check_number("threshold", threshold, low=0, below=1)


def check_parts(parts: Any) -> Parts:
    """Return which components are kept, or raise."""
    kept: Parts = check_choice("parts", parts, get_args(Parts))
    return kept
