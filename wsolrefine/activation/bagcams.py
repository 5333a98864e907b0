"""BagCAMs: the evidence of each channel, by the average of one localizer per position."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wsolrefine.activation.cams import in_unit_range, peak_one, score_gradients
from wsolrefine.functional._numeric import largest, outside_autocast, working


@outside_autocast
def bagcams(
    activation: Tensor, scores: Tensor, *, to_map: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the BagCAMs of class scores at any layer.

    With ``r`` the evidence, gradient times activation, each position m is a localizer that scores
    the evidence of position i by ``1 + r[c,m]``. They are averaged, and each channel is rectified
    before the channels are summed:

        r[c,i] = gradient[c,i] * activation[c,i]
        map[i] = sum over c of ReLU((1 + mean over m of r[c,m]) * r[c,i])

    then min-max rescaled. One backward pass per class, down to ``activation`` only; the graph is
    kept and no ``.grad`` is written. Because of the 1, the scale of the scores matters.

    This is the formula of the authors' code. Their gradient is that of the logarithm of the logit
    (``scores.log()``, undefined for a negative logit), with negative values set to zero at every
    ReLU of the network on the way back (guided backpropagation). Here it is that of the scores.

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
        >>> channels = activation.mean((2, 3))
        >>> bagcams(activation, channels[:, 1] - channels[:, 0])
        tensor([[[0.0000, 0.3333, 1.0000]]])

    Reference:
        Zhu et al., "Bagging Regional Classification Activation Maps for Weakly Supervised Object
        Localization", ECCV 2022. Authors' code: libs/cams/bagcams.py (commit f4e3797).

    """
    values, gradients = score_gradients(activation, scores, to_map)
    factor = values.shape[2:].numel()  # what score_gradients multiplies them by
    return bagcams_of(values, gradients, factor, single=scores.ndim == 1)


def bagcams_of(values: Tensor, gradients: Sequence[Tensor], factor: int, *, single: bool) -> Tensor:
    """Return the BagCAMs of maps ``(B, C, h, w)`` from each class's gradients times a factor."""
    pixels = peak_one(values)
    maps = []
    for gradient in gradients:
        evidence = peak_one(gradient) * pixels
        # What it is a multiple of, beside which the 1 may vanish or be all.
        scale = largest(working(gradient), (1, 2, 3)) * largest(working(values), (1, 2, 3))
        scale = scale / factor
        mean = evidence.mean((2, 3), keepdim=True)
        weight = 1 / scale.clamp_min(1) + scale.clamp_max(1) * mean
        maps.append((weight * evidence).relu().sum(1))
    return in_unit_range(torch.stack(maps, 1), values, single)
