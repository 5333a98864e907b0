"""SPOL's segmentation loss: binary cross entropy without the ignored pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from wsolrefine._check import check_dense, check_like, check_tensors
from wsolrefine._options import check_count
from wsolrefine.functional._numeric import working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def masked_bce_loss(
    logits: Tensor, target: Tensor, *, ignore_index: int = 255, reduction: Reduction = "mean"
) -> Tensor:
    """Return the binary cross entropy of the pixels that have a label.

    Args:
        logits: before the sigmoid, any shape.
        target: uint8 or int64, the same shape: 0 background, ``ignore_index`` no label, anything
            else object; as :func:`wsolrefine.pseudo_label` returns it.
        ignore_index: label of pixels that are ignored.
        reduction: ``mean`` over all pixels, the ignored ones included, so that an image with few
            labels weighs less; ``sum``; or ``none``.

    Returns:
        The loss; differentiable in ``logits``. Zero when every pixel is ignored.

    Raises:
        TypeError: ``logits`` is not a floating-point tensor or ``target`` not an integer one.
        ValueError: shapes or devices disagree, ``ignore_index`` does not fit the target's dtype, or
            ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> target = torch.tensor([1, 0, 255, 255], dtype=torch.uint8)
        >>> masked_bce_loss(torch.zeros(4), target)  # (ln 2 + ln 2 + 0 + 0) / 4
        tensor(0.3466)

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Eq. 7.

    """
    check_reduction(reduction)
    ignore_index = check_count("ignore_index", ignore_index, low=-(2**63), high=2**63 - 1)
    check_tensors(logits=(logits, "..."))
    check_dense("target", target)
    if target.dtype not in (torch.uint8, torch.int64):
        raise TypeError(f"target: expected dtype torch.uint8 or torch.int64, got {target.dtype}")
    check_like(logits=logits, target=target)
    if target.device != logits.device:
        raise ValueError(f"target: expected {logits.device} as logits, got {target.device}")
    if target.dtype == torch.uint8 and not 0 <= ignore_index <= 255:
        raise ValueError(f"ignore_index: expected 0 to 255 for uint8, got {ignore_index}")
    known = target != ignore_index
    # Without this an infinite or NaN logit would spoil the loss although its pixel is ignored.
    values = working(logits).where(known, 0.0)
    most = torch.finfo(values.dtype).max
    values = values.clamp(-most, most)  # an infinite one, times zero, would be NaN
    wanted = ((target != 0) & known).to(values.dtype)
    costs = binary_cross_entropy_with_logits(values, wanted, reduction="none")
    return reduced(costs.where(known, 0.0), reduction, logits.dtype)
