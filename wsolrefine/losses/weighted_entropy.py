"""ORNet's entropy losses: push each activation towards 0 or 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from wsolrefine._check import check_tensors
from wsolrefine._options import check_flag, check_number
from wsolrefine.functional._numeric import working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def entropy_loss(
    probability: Tensor, *, logits: bool = False, reduction: Reduction = "mean"
) -> Tensor:
    """Return the entropy of each pixel, ``-p ln p - (1 - p) ln(1 - p)``.

    Args:
        probability: activation in [0, 1], any shape.
        logits: ``probability`` holds the values before the sigmoid; use it in half precision.
        reduction: ``mean`` over all pixels, ``sum``, or ``none``.

    Returns:
        The loss: 0 for a pixel of 0 or 1, and ln 2 for one of 0.5, which is a stationary point.
        Differentiable; probabilities within rounding of 0 or 1 have no gradient.

    Raises:
        TypeError: ``probability`` is not a floating-point tensor.
        ValueError: ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> entropy_loss(torch.tensor([0.0, 0.5, 1.0]), reduction="none")
        tensor([0.0000, 0.6931, 0.0000])

    Reference:
        Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL",
        ICCV 2021, Eqs. 11-13.

    """
    check_reduction(reduction)
    logits = check_flag("logits", logits)
    check_tensors(probability=(probability, "..."))
    return reduced(_entropy(working(probability), logits)[1], reduction, probability.dtype)


def weighted_entropy_loss(
    probability: Tensor,
    *,
    mean: float = 0.5,
    std: float = 0.1,
    detach_weight: bool = False,
    logits: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the entropy of each pixel, weighted towards the uncertain ones.

    ``exp(-(p - mean)^2 / (2 std^2)) H(p)``: with the defaults the weight is 0.01 at 0.2 and 0.8, so
    pixels that are already decided are left alone, whereas the plain entropy keeps pushing them.

    Args:
        probability: activation in [0, 1], any shape.
        mean: mean of the Gaussian weight, in units of the activation.
        std: standard deviation of the Gaussian weight. The paper calls it a variance but uses it as
            a standard deviation.
        detach_weight: treat the weight as a constant in the gradient.
        logits: ``probability`` holds the values before the sigmoid; use it in half precision.
        reduction: ``mean`` over all pixels, ``sum``, or ``none``.

    Returns:
        The loss, at most ln 2 per pixel; with ``mean`` 0.5 the maximum is at 0.5, which is a
        stationary point. Differentiable.

    Raises:
        TypeError: ``probability`` is not a floating-point tensor.
        ValueError: ``mean`` is not finite, ``std`` is not above 0, or ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> weighted_entropy_loss(torch.tensor([0.2, 0.5, 0.8]), reduction="none")
        tensor([0.0056, 0.6931, 0.0056])

    Reference:
        Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL",
        ICCV 2021, Eqs. 12, 14, 15.

    """
    check_reduction(reduction)
    mean, std = check_number("mean", mean), check_number("std", std, above=0, finite=False)
    detach_weight = check_flag("detach_weight", detach_weight)
    logits = check_flag("logits", logits)
    check_tensors(probability=(probability, "..."))
    values, entropy = _entropy(working(probability), logits)
    weight = (-(((values - mean) / std) ** 2) / 2).exp()
    weight = weight.detach() if detach_weight else weight
    return reduced(weight * entropy, reduction, probability.dtype)


def _entropy(values: Tensor, logits: bool) -> tuple[Tensor, Tensor]:
    """Return probabilities and their entropies."""
    if logits:
        probability = values.sigmoid()
        # Saturated, the entropy is |z| exp(-|z|); an infinite logit would make that NaN.
        size = values.abs().clamp_max(1e4)
        return probability, softplus(-size) + size * (-size).sigmoid()
    eps = torch.finfo(values.dtype).eps
    inner = values.clamp(eps, 1 - eps)
    entropy = -inner * inner.log() - (1 - inner) * (-inner).log1p()
    return values, torch.where((values > 0) & (values < 1), entropy, 0 * values)
