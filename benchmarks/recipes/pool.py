"""The pool of training images: each epoch is a slice of it, so no image is seen twice."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class Slices(Sampler[int]):
    """The indices of a pool in a random order, of which each epoch has its own part.

    Args:
        count: number of images in the pool.
        epochs: number of epochs, at most ``count``. Images that do not fill a slice are left out.
        seed: another seed gives another order.

    """

    def __init__(self, count: int, epochs: int, *, seed: int) -> None:
        if not 1 <= epochs <= count:
            raise ValueError(f"epochs: expected 1 to {count}, the size of the pool, got {epochs}")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        self.slices = order[: count // epochs * epochs].view(epochs, -1)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the slice, as Lightning does at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.slices.shape[1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.slices[self.epoch].tolist())
