"""The map whose mean over the grid the head of a classifier reads."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from wsolrefine.activation.closest import closest
from wsolrefine.activation.layout import lay_out
from wsolrefine.functional._numeric import working
from wsolrefine.functional.tokens import tokens_to_map


def readings(
    output: Tensor | None,
    source: Tensor | None,
    to_map: Callable[[Tensor], Tensor] | None,
    size: tuple[int, int],
) -> list[Tensor]:
    """Return what the head may have averaged: a layer's output, its ReLU, or its input.

    Each as ``(B, C, h, w)``, in an order that depends on shapes alone.

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
    candidates = [*outputs, *(maps.relu() for maps in outputs), *inputs]
    # The output of a pooling layer is its own mean.
    return [m for m in candidates if m.shape[-2] * m.shape[-1] > 1] or candidates


def place_of_mean(candidates: list[Tensor], pooled: Tensor) -> int | None:
    """Return the position of the map whose mean is ``pooled`` ``(B, C)``; None if there is none."""
    finite = pooled.isfinite().all(1, keepdim=True)
    means = [(at, working(m).mean((-2, -1)).where(finite, 0.0)) for at, m in enumerate(candidates)]
    return closest(means, pooled.where(finite, 0.0))
