"""ORNet's area loss: of two maps that classify equally well, prefer the smaller one."""

from __future__ import annotations

from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_flag
from wsolrefine.functional._numeric import working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def area_loss(
    probability: Tensor, *, logits: bool = False, reduction: Reduction = "mean"
) -> Tensor:
    """Return the mean activation, the area that a map covers as a fraction of the image.

    Args:
        probability: activation in [0, 1], any shape.
        logits: ``probability`` holds the values before the sigmoid.
        reduction: ``mean`` over all pixels, ``sum``, or ``none`` for the activation itself.

    Returns:
        The loss, in [0, 1] unless summed; differentiable.

    Raises:
        TypeError: ``probability`` is not a floating-point tensor.
        ValueError: ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> area_loss(torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]))
        tensor(0.7500)

    Reference:
        Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL",
        ICCV 2021, Eq. 16.

    """
    check_reduction(reduction)
    logits = check_flag("logits", logits)
    check_tensors(probability=(probability, "..."))
    values = working(probability)
    return reduced(values.sigmoid() if logits else values, reduction, probability.dtype)
