"""What every recipe returns, and how it takes one class's map."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Localization(NamedTuple):
    """Class scores ``(B, K)`` and one map in [0, 1] for each image, ``(B, h, w)``."""

    logits: Tensor
    maps: Tensor


def map_of(class_maps: Tensor, labels: Tensor) -> Tensor:
    """Return the map ``(B, h, w)`` of each image's label out of class maps ``(B, K, h, w)``."""
    index = labels[:, None, None, None].expand(-1, 1, *class_maps.shape[2:])
    return class_maps.gather(1, index)[:, 0]


def chosen(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return the labels, or the predicted classes where there are none."""
    return logits.argmax(1) if labels is None else labels
