"""From maps to the masks of objects."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from wsolrefine._options import check_choice, check_number
from wsolrefine.functional._grid import limited_size, resize
from wsolrefine.functional._numeric import working
from wsolrefine.functional.components import largest_component
from wsolrefine.functional.instances import instance_labels

Parts = Literal["largest", "all", "instances"]
"""What is an object: the largest component of a mask, all of it, or each of its instances."""

MASK_SIDE = 1024
"""Masks are binarized at this many pixels on the longer side at most, and enlarged from there: a
map of 14x14 cells holds nothing finer, and an image of 100 megapixels needs no 800 MB of labels."""


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, K, h, w)`` to ``size`` (height, width), bilinear."""
    if tuple(maps.shape[-2:]) == tuple(size):  # also of half precision, without a copy
        return maps
    return resize(working(maps), size).to(maps.dtype)


def label_objects(maps: Tensor, threshold: float, parts: Parts = "largest") -> Tensor:
    """Number the objects in maps ``(B, K, H, W)``: uint8, 0 for background.

    Of the pixels above the threshold the largest 8-connected component is one object (of two of the
    same size, the first in reading order), or all are, or they are several, from 1 by descending
    peak: the instances of :func:`wsolrefine.instance_labels`.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[[0.9, 0.1, 1.0, 0.8]]]])
        >>> [label_objects(maps, 0.5, parts).tolist() for parts in ("largest", "all", "instances")]
        [[[[[0, 0, 1, 1]]]], [[[[1, 0, 1, 1]]]], [[[[2, 0, 1, 1]]]]]

    """
    if parts == "instances":  # none is below 1 % of the map, so that there are at most 100
        return instance_labels(maps, threshold=threshold).byte()
    mask = maps > threshold
    return (mask if parts == "all" else largest_component(mask)).byte()


def enlarge_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 labels ``(B, K, h, w)`` to ``size``, each pixel from the nearest center."""
    if tuple(labels.shape[-2:]) == tuple(size):
        return labels
    return F.interpolate(labels, size=size, mode="nearest-exact")


def objects_of(maps: Tensor, size: tuple[int, int], threshold: float, parts: Parts) -> Tensor:
    """Return the numbered objects ``(B, K, *size)`` of maps on any grid."""
    return enlarge_labels(label_objects(enlarge(maps, mask_size(size)), threshold, parts), size)


def mask_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which the mask of an image of this size is binarized."""
    return limited_size(size, MASK_SIDE)


def check_threshold(threshold: Any) -> float:
    """Return a threshold at which maps in [0, 1] can be binarized, or raise."""
    return check_number("threshold", threshold, low=0, below=1)


def check_parts(parts: Any) -> Parts:
    """Return what one object is, or raise."""
    checked: Parts = check_choice("parts", parts, get_args(Parts))
    return checked
