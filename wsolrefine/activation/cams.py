"""Class activation maps from the features or gradients of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_dense, check_labels, check_tensors
from wsolrefine._options import check_function
from wsolrefine.activation.graph import exact_batch_norm
from wsolrefine.functional._numeric import (
    balance,
    for_autograd,
    is_finite,
    largest,
    outside_autocast,
    working,
)
from wsolrefine.functional.normalize import minmax


@outside_autocast
def gap_cam(features: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the CAM of a head that averages features over the grid and applies a linear layer.

    ``map[i] = ReLU(sum over c of weight[label, c] * features[c, i])``, then min-max rescaled.
    Before the ReLU its mean is the class score minus the bias. No backward pass.

    Args:
        features: the features that the head averages, ``(B, C, h, w)``.
        weight: weight of the linear layer, ``(num_classes, C)``, or of a 1x1 convolution,
            ``(num_classes, C, 1, 1)``.
        labels: class indices, int64, ``(B,)`` or ``(B, K)``.

    Returns:
        Maps in [0, 1], ``(B, h, w)`` or ``(B, K, h, w)``, differentiable in ``features`` and
        ``weight``. Zero for an image whose features are not finite, and where there is no evidence
        for the class.

    Raises:
        TypeError: ``features`` or ``weight`` is not a floating-point tensor, their dtypes differ,
            or ``labels`` is not int64.
        ValueError: shapes or devices disagree.

    Example:
        >>> import torch
        >>> features = torch.tensor([[[[1.0, 0.0, 0.0]], [[1.0, 2.0, 4.0]]]])
        >>> gap_cam(features, torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), torch.tensor([1]))
        tensor([[[0.0000, 0.5000, 1.0000]]])

    Reference:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, Eq. 2.

    """
    weight = check_dense("weight", weight)
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    check_tensors(features=(features, "B C h w"), weight=(weight, "num_classes C"))
    check_labels("labels", labels, several=True, features=features)
    single = labels.ndim == 1
    features, weight, labels = map(for_autograd, (features, weight, labels))
    rows = working(weight)[labels[:, None] if single else labels]  # (B, K, C)
    return in_unit_range(_weighted(rows, features), features, single)


@outside_autocast
def grad_cam(
    activation: Tensor, scores: Tensor, *, to_map: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the Grad-CAM of class scores at any layer.

    ``map[i] = ReLU(sum over c of alpha[c] * activation[c, i])`` with ``alpha[c]`` the mean over the
    grid of the score's gradient, then min-max rescaled. One backward pass per class, down to
    ``activation`` only; the graph is kept and no ``.grad`` is written. The images of a batch must
    not influence each other (no batch normalization in training mode).

    Args:
        activation: output of a layer, part of the graph of ``scores``: ``(B, C, h, w)``, or
            anything that ``to_map`` rearranges to that.
        scores: class scores, usually logits, ``(B,)`` or ``(B, K)``.
        to_map: rearranges ``activation`` and its gradient to ``(B, C, h, w)``. It may only move or
            drop values: ``partial(tokens_to_map, num_prefix_tokens=1)`` for a vision transformer.

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
        >>> grad_cam(activation, channels[:, 1] - channels[:, 0])
        tensor([[[0.0000, 0.5000, 1.0000]]])

    Reference:
        Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
        Localization", ICCV 2017, Eqs. 1-2.

    """
    values, gradients = score_gradients(activation, scores, to_map)
    weights = torch.stack([working(gradient).mean((-2, -1)) for gradient in gradients], 1)
    return in_unit_range(_weighted(weights, values), values, scores.ndim == 1)


def peak_one(maps: Tensor) -> Tensor:
    """Divide maps ``(B, C, h, w)`` by their largest magnitude, so that no product overflows.

    The min-max cancels the scale. Where a value is not finite, it becomes NaN, and not a zero that
    a ReLU would make of minus infinity.
    """
    values = working(maps)
    peak = largest(values, (1, 2, 3))
    return values / peak.where(peak != 0, 1.0)


def score_gradients(
    activation: Tensor, scores: Tensor, to_map: Callable[[Tensor], Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """Return activation and the gradients of the scores of each class, as maps.

    The gradients are multiplied by the number of positions: the min-max that follows cancels the
    factor, and half precision would lose a gradient that is spread thinly over the grid.
    """
    check_function("to_map", to_map)
    move = to_map if to_map is not None else _unchanged
    values = move(check_dense("activation", activation).detach())
    check_tensors(activation=(values, "B C h w"))
    check_tensors(scores=(scores, "B [K]"))
    if len(scores) != len(values):
        raise ValueError(
            f"scores: expected shape (B,) or (B, K) with B={len(values)} from activation, "
            f"got {tuple(scores.shape)}"
        )
    for name, tensor in (("activation", activation), ("scores", scores)):
        if not tensor.requires_grad:
            raise ValueError(
                f"{name}: expected a tensor computed with gradients on (with frozen weights, set "
                "images.requires_grad_() first), got requires_grad=False"
            )

    pixels = values.shape[-2] * values.shape[-1]
    gradients = []
    for (gradient,) in gradients_of(scores, [activation], pixels):
        if gradient is None:
            raise ValueError(
                "scores: expected scores computed from activation with gradients on, "
                "got scores that do not depend on it"
            )
        gradients.append(move(gradient))
    return values, gradients


def gradients_of(
    scores: Tensor, activations: Sequence[Tensor], factor: int
) -> Iterator[tuple[Tensor | None, ...]]:
    """Yield the gradients of the scores of each class, times a factor; None where there is none."""
    with torch.enable_grad():
        columns = (scores[:, None] if scores.ndim == 1 else scores).unbind(1)
    with exact_batch_norm(scores):
        for column in columns:
            start = torch.full_like(column, factor)
            yield torch.autograd.grad(
                column, activations, start, retain_graph=True, allow_unused=True
            )


def _weighted(weights: Tensor, maps: Tensor) -> Tensor:
    """Return the sums of maps ``(B, C, h, w)`` by weights ``(B, K, C)``, each up to its scale.

    The min-max cancels the scale: without it, sums of finite numbers could overflow or vanish.
    """
    pixels = working(maps).flatten(2)
    peak = largest(weights, -1)
    usual = (peak == 0) | ((peak > 2.0**-20) & (peak < 2.0**20))  # kept, bit by bit
    weights = weights / peak.masked_fill(usual, 1.0) * balance(largest(pixels, (1, 2)))
    return weights @ pixels


def in_unit_range(maps: Tensor, source: Tensor, single: bool) -> Tensor:
    """Turn raw (B, K, h*w) maps into maps in [0, 1]; zero where the source is not finite."""
    maps = minmax(maps.reshape(*maps.shape[:2], *source.shape[-2:]).relu())
    # ReLU turns minus infinity into an ordinary zero, so the source is what is checked.
    maps = torch.where(is_finite(source, (1, 2, 3))[:, None, None, None], maps, 0.0)
    return (maps[:, 0] if single else maps).to(source.dtype)


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor
