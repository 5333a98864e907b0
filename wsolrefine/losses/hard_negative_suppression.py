"""SEM's edge loss: class-balanced cross entropy with a term that grows with false edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from wsolrefine._check import check_boolean, check_like, check_tensors
from wsolrefine._options import check_flag, check_number
from wsolrefine.functional._numeric import for_autograd, working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def hard_negative_suppression_loss(
    probability: Tensor,
    boundary: Tensor,
    *,
    negative_weight: float = 1.0,
    suppression: bool = True,
    logits: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the class-balanced cross entropy of boundaries, with an extra cost on false ones.

    With ``b`` and ``n`` the numbers of boundary and other pixels in the batch,
    ``alpha = b / (b + n)`` and ``beta = n / (b + n)``, a pixel of probability P costs::

        boundary:   beta (-ln P)
        elsewhere:  alpha (negative_weight + P) (-ln(1 - P))

    The term with P is the suppression: with a ``negative_weight`` of 1, it doubles the cost of a
    confident false edge.

    Args:
        probability: probability of a boundary, in [0, 1], any shape.
        boundary: bool, the same shape.
        negative_weight: the paper's lambda, for which it gives no value.
        suppression: False leaves out the term with P, which gives the vanilla loss.
        logits: ``probability`` holds the values before the sigmoid; use it in half precision.
        reduction: ``mean`` over all pixels, ``sum``, or ``none``.

    Returns:
        The loss; differentiable, also through P. The loss is 0 if there are only boundary
        pixels or none at all (beta or alpha is 0). In the logarithms, probabilities are clamped to
        one rounding unit from 0 and 1, where they have no gradient.

    Raises:
        TypeError: ``probability`` is not a floating-point tensor or ``boundary`` not bool.
        ValueError: shapes or devices disagree, ``negative_weight`` is not a finite number >= 0, or
            ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> boundary = torch.tensor([True, False, False, False])
        >>> probability = torch.tensor([0.5, 0.5, 0.1, 0.9])
        >>> hard_negative_suppression_loss(probability, boundary, reduction="none")
        tensor([0.5199, 0.2599, 0.0290, 1.0937])

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Eq. 1, whose printed sum lacks a minus
        sign.

    """
    check_reduction(reduction)
    negative_weight = check_number("negative_weight", negative_weight, low=0)
    suppression = check_flag("suppression", suppression)
    logits = check_flag("logits", logits)
    check_tensors(probability=(probability, "..."))
    check_boolean(boundary=(boundary, "..."))
    check_like(probability=probability, boundary=boundary)
    if boundary.device != probability.device:
        raise ValueError(
            f"boundary: expected {probability.device} as probability, got {boundary.device}"
        )
    values, boundary = working(probability), for_autograd(boundary)
    alpha = boundary.to(values.dtype).mean()
    if logits:
        finite = values.clamp(-1e4, 1e4)  # an infinite one, times zero, would be NaN
        values, log, log_other = values.sigmoid(), logsigmoid(finite), logsigmoid(-finite)
    else:
        eps = torch.finfo(values.dtype).eps
        inner = values.clamp(eps, 1 - eps)
        log, log_other = inner.log(), (-inner).log1p()
    weight = negative_weight + values if suppression else negative_weight
    costs = torch.where(boundary, (alpha - 1) * log, -alpha * weight * log_other)
    return reduced(costs, reduction, probability.dtype)
