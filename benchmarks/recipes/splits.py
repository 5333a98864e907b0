"""The images of a split, their classes, and the ground truth that no recipe sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

SIDE = 224
SPLITS = ("train", "validation", "test")


class Truth(NamedTuple):
    """What maps are measured against."""

    boxes: list[Tensor]  # N of (n, 4), in pixels of an image of the size below
    sizes: list[tuple[int, int]]  # height and width
    masks: Tensor | None  # (N, SIDE, SIDE) integers

    def some(self, indices: Sequence[int]) -> Truth:
        """Return the ground truth of these images only."""
        masks = None if self.masks is None else self.masks[indices]
        return Truth([self.boxes[i] for i in indices], [self.sizes[i] for i in indices], masks)


class Split(NamedTuple):
    """Images and their classes; those to train on have no ground truth."""

    images: Tensor  # (N, 3, SIDE, SIDE) uint8
    labels: Tensor  # (N,) int64
    truth: Truth | None

    def some(self, indices: list[int]) -> Split:
        """Return these images only."""
        truth = None if self.truth is None else self.truth.some(indices)
        return Split(self.images[indices], self.labels[indices], truth)

    def known(self) -> Truth:
        """Return the ground truth of a split that is measured on."""
        if self.truth is None:
            raise ValueError("split: expected one with ground truth, got the training images")
        return self.truth


class Source(Protocol):
    """Where the splits come from: scenes or photographs."""

    @property
    def title(self) -> str: ...
    @property
    def class_names(self) -> list[str]: ...
    @property
    def key(self) -> Any: ...  # all that the splits depend on, but for the code
    def split(self, name: str) -> Split: ...


def stacked(images: Sequence[Tensor], labels: Sequence[int], truth: Truth | None) -> Split:
    """Return a split of images ``(3, SIDE, SIDE)``."""
    return Split(torch.stack([*images]), torch.tensor([*labels]), truth)


def first(split: Split, count: int | None) -> Split:
    """Return so many images of a split, or all of them."""
    return split if count is None else split.some([*range(min(count, len(split.labels)))])
