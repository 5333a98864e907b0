"""Maps of classes on the grid that they were computed on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ClassMaps(NamedTuple):
    """Class scores, the classes asked for, and their maps on the grid they were computed on.

    Attributes:
        logits: ``(B, num_classes)``.
        labels: int64, ``(B, K)``; -1 where an image has fewer classes, and maps are zero there.
        maps: in [0, 1], ``(B, K, h, w)``.

    """

    logits: Tensor
    labels: Tensor
    maps: Tensor


def probabilities(logits: Tensor) -> Tensor:
    """Return the softmax of logits ``(B, num_classes)``; of a single one, its sigmoid."""
    # One class score is that of a class against no class: its softmax would always be 1.
    return logits.softmax(-1) if logits.shape[1] > 1 else logits.sigmoid()
