"""The objects of one class in one image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.functional._numeric import working
from wsolrefine.functional.boxes import union_box


class Instances(NamedTuple):
    """The n objects of one class in one image, by descending peak of the map.

    Attributes:
        masks: bool, ``(n, H, W)``; no pixel belongs to two of them.
        boxes: around the masks, half-open ``x0 y0 x1 y1`` in pixels of the image, ``(n, 4)``.
        scores: probability of the class times the highest value of the map in the object, divided
            by the highest in all of them, ``(n,)``. The first object has that of the class.

    """

    masks: Tensor
    boxes: Tensor
    scores: Tensor


def relative_peaks(objects: Tensor, map: Tensor) -> Tensor:
    """Return the highest value of a map in each object, ``(n,)``, divided by the highest of all.

    Args:
        objects: numbers from 1, uint8, ``(H, W)``; 0 is background.
        map: ``(H, W)``, positive in each object.

    Example:
        >>> import torch
        >>> relative_peaks(torch.tensor([[1, 1, 0, 2]]).byte(), torch.tensor([[0.8, 0.1, 0, 0.4]]))
        tensor([1.0000, 0.5000])

    """
    number, values = int(objects.max()), working(map).flatten()
    if number < 2:
        return values.new_ones(number)
    peaks = values.new_zeros(number + 1).scatter_reduce(0, objects.flatten().long(), values, "amax")
    return peaks[1:] / peaks[1:].amax()


def instances_of(objects: Tensor, map: Tensor, score: Tensor) -> Instances:
    """Return the objects of one class in one image.

    Args:
        objects: numbers from 1, uint8, ``(H, W)``; 0 is background.
        map: ``(H, W)``, positive in each object.
        score: probability of the class, a scalar.

    """
    numbers = torch.arange(1, int(objects.max()) + 1, device=objects.device)
    masks = objects == numbers[:, None, None]
    scores = (score * relative_peaks(objects, map)).to(score.dtype)
    return Instances(masks, union_box(masks), scores)
