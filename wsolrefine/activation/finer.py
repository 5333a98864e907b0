"""LayerCAMs and BagCAMs of several layers, from the same backward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsolrefine.activation.bagcams import bagcams_of
from wsolrefine.activation.cams import gradients_of
from wsolrefine.activation.layer_cam import layer_cam_of
from wsolrefine.functional._numeric import outside_autocast


class Finer(NamedTuple):
    """Maps in [0, 1], ``(B, K, h, w)`` each, of as many of the last layers as were asked for."""

    layer_cams: list[Tensor]
    bagcams: list[Tensor]


@outside_autocast
def finer_maps(
    activations: Sequence[Tensor],
    scores: Tensor,
    to_maps: Sequence[Callable[[Tensor], Tensor]],
    *,
    layer_cams: int,
    bagcams: int,
) -> Finer:
    """Return LayerCAMs and BagCAMs of scores ``(B, K)`` at the last layers of some.

    One backward pass per class for all of them. Zero at a layer that the scores do not depend on.

    Raises:
        ValueError: the scores have no graph.

    """
    if not activations:
        return Finer([], [])
    if not scores.requires_grad:
        raise ValueError(
            "model: expected logits with a gradient, which LayerCAM and BagCAM need "
            "(refine='fast' and 'scg' do without), got logits without a graph"
        )
    values = [move(one.detach()) for move, one in zip(to_maps, activations, strict=True)]
    factor = max(maps.shape[-2] * maps.shape[-1] for maps in values)  # see score_gradients
    gradients: list[list[Tensor]] = [[] for _ in activations]
    for found in gradients_of(scores, activations, factor):
        for each, gradient, one, move in zip(gradients, found, activations, to_maps, strict=True):
            each.append(move(torch.zeros_like(one) if gradient is None else gradient))
    pairs = [*zip(values, gradients, strict=True)]
    return Finer(
        [layer_cam_of(*pair, single=False) for pair in pairs[len(pairs) - layer_cams :]],
        [bagcams_of(*pair, factor, single=False) for pair in pairs[len(pairs) - bagcams :]],
    )
