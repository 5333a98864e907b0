"""SPOL's joint loss of the deep and the fused prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine._check import check_labels, check_tensors
from wsolrefine._options import check_flag
from wsolrefine.functional._numeric import for_autograd, working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def multiplicative_loss(
    deep_logits: Tensor,
    fused_logits: Tensor,
    label: Tensor,
    *,
    distill: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Train the product of several stages together with its deepest factor.

    The gradient of one factor vanishes where another factor is zero; training the deepest stage on
    its own as well keeps the product from vanishing. ``CE(fused, label) + CE(deep, label)``.

    Args:
        deep_logits: class scores of the deepest stage alone, ``(B, K)``.
        fused_logits: class scores of the product of stages, ``(B, K)``.
        label: class of each image, int64, ``(B,)``, from 0 to K - 1.
        distill: the released loss for CUB, in which the deep prediction is the fused one's teacher:
            ``(CE(deep, label) + CE(fused, softmax(deep))) / 2``, with no gradient to the teacher.
        reduction: ``mean`` over images, ``sum``, or ``none``, ``(B,)``.

    Returns:
        The loss; differentiable in both logits.

    Raises:
        TypeError: logits are not floating-point tensors, dtypes differ, or ``label`` is not int64.
        ValueError: shapes or devices disagree, a label is out of range (on a GPU torch's own
            indexing fails instead), or ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> deep, fused = torch.zeros(1, 2), torch.tensor([[9.0, -9.0]])
        >>> multiplicative_loss(deep, fused, torch.tensor([0]))  # ln 2 + 0
        tensor(0.6931)
        >>> multiplicative_loss(deep, fused, torch.tensor([0]), distill=True)  # (ln 2 + 9) / 2
        tensor(4.8466)

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Sec. 3.5; ``distill`` follows the released code, which differs.

    """
    check_reduction(reduction)
    distill = check_flag("distill", distill)
    check_tensors(deep_logits=(deep_logits, "B K"), fused_logits=(fused_logits, "B K"))
    check_labels("label", label, deep_logits=deep_logits, classes=deep_logits.shape[1])
    deep, fused, label = map(for_autograd, (working(deep_logits), working(fused_logits), label))
    of_deep = _cross_entropy(deep, label)
    if distill:
        teacher = deep.detach().softmax(1)
        # A class that both exclude, with scores of -inf, costs nothing: not 0 times inf.
        costs = torch.where(teacher > 0, -teacher * fused.log_softmax(1), 0.0)
        of_fused = costs.sum(1)
        values = (of_deep + of_fused) / 2
    else:
        values = of_deep + _cross_entropy(fused, label)
    return reduced(values, reduction, deep_logits.dtype)


def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return the cross entropy of each image; torch's own would ignore the label -100."""
    return -logits.log_softmax(1).gather(1, label[:, None])[:, 0]
