"""The map whose mean over the grid the head of a classifier reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.activation.closest import closest, distance
from wsolrefine.activation.layout import lay_out
from wsolrefine.functional._numeric import working
from wsolrefine.functional.tokens import tokens_to_map


class Reading(NamedTuple):
    """A map that the head may have averaged, ``(B, C, h, w)``, or its ReLU."""

    map: Tensor
    relu: bool = False

    def values(self) -> Tensor:
        """Return the map that is meant."""
        return self.map.relu() if self.relu else self.map


def readings(
    output: Tensor | None,
    source: Tensor | None,
    to_map: Callable[[Tensor], Tensor] | None,
    size: tuple[int, int],
) -> list[Reading]:
    """Return what the head may have averaged: a layer's output, its ReLU, or its input.

    In an order that depends on shapes alone.

    Args:
        output: of the layer of the CAM.
        source: its input.
        to_map: lays both out, see :func:`wsolrefine.find_layers`.
        size: (height, width) of the images.

    """

    def laid_out(tensor: Tensor | None) -> list[Tensor]:
        if tensor is None or tensor.ndim not in (3, 4):
            return []
        if tensor.ndim == 4:
            return [tensor, tokens_to_map(tensor)]  # comparing values decides
        maps = to_map(tensor) if to_map is not None else lay_out(tensor, size)
        return [] if maps is None else [maps]

    outputs, inputs = laid_out(output), laid_out(source)
    candidates = [Reading(maps, relu) for relu in (False, True) for maps in outputs]
    candidates += map(Reading, inputs)
    # The output of a pooling layer is its own mean.
    return [one for one in candidates if prod(one.map.shape[-2:]) > 1] or candidates


def place_of_mean(candidates: Sequence[Reading], pooled: Tensor) -> int | None:
    """Return the position of the map whose mean is ``pooled`` ``(B, C)``; None if there is none."""
    finite = pooled.isfinite().all(1, keepdim=True)
    expected = pooled.where(finite, 0.0)
    means: list[tuple[int, Tensor]] = []
    for at, candidate in enumerate(candidates):
        mean = working(candidate.values()).mean((-2, -1)).where(finite, 0.0)
        # Most often it is the first, and a mean of a large map takes as long as a layer.
        if distance(mean, expected) <= 4 * torch.finfo(expected.dtype).eps:
            return at
        means.append((at, mean))
    return closest(means, expected)
