"""LayerCAM: every position of a layer weighted by its own gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wsolrefine.activation.cams import in_unit_range, peak_one, score_gradients
from wsolrefine.functional._numeric import outside_autocast


@outside_autocast
def layer_cam(
    activation: Tensor, scores: Tensor, *, to_map: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the LayerCAM of class scores at any layer, shallow ones included.

    ``map[i] = ReLU(sum over c of ReLU(gradient[c, i]) * activation[c, i])``, then min-max rescaled.
    Unlike :func:`wsolrefine.grad_cam`, which has one weight per channel, each position has its own,
    so fine layers show where the evidence is. One backward pass per class, down to ``activation``
    only; the graph is kept and no ``.grad`` is written. For several layers call it once for each.

    Args:
        activation: see :func:`wsolrefine.grad_cam`.
        scores: see :func:`wsolrefine.grad_cam`.
        to_map: see :func:`wsolrefine.grad_cam`.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, without a graph. Zero for an image whose
        activation or gradient is not finite, and where there is no evidence for the class.

    Raises:
        TypeError: an input is not a floating-point tensor.
        ValueError: shapes disagree, or ``scores`` was not computed from ``activation`` with
            gradients on. With frozen weights, set ``images.requires_grad_()`` first.

    Example:
        >>> import torch
        >>> activation = torch.tensor([[[[1.0, 0.0, 0.0]], [[1.0, 2.0, 4.0]]]], requires_grad=True)
        >>> channels = activation.square().mean((2, 3))
        >>> layer_cam(activation, channels[:, 1] - channels[:, 0])
        tensor([[[0.0000, 0.2000, 1.0000]]])

    Reference:
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        IEEE Transactions on Image Processing 2021, Eqs. 4-6.

    """
    values, gradients = score_gradients(activation, scores, to_map)
    return layer_cam_of(values, gradients, single=scores.ndim == 1)


def layer_cam_of(values: Tensor, gradients: Sequence[Tensor], *, single: bool) -> Tensor:
    """Return the LayerCAMs of maps ``(B, C, h, w)`` from the gradients of each class."""
    pixels = peak_one(values)
    maps = [(peak_one(gradient).relu() * pixels).sum(1) for gradient in gradients]
    return in_unit_range(torch.stack(maps, 1), values, single)
