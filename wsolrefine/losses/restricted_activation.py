"""SPA's restricted activation: fit the label's map to coarse masks of object and background."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine._check import check_labels, check_tensors
from wsolrefine._options import check_flag, check_number
from wsolrefine.functional._numeric import for_autograd, rescale, rounding, working
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def restricted_activation_loss(
    logit_map: Tensor,
    label: Tensor,
    *,
    threshold: float,
    gap: float,
    released: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Push the label's activation down on background and up on the object.

    Where all classes score about the same there is no object, so the spread over classes defines
    the two masks:
    ``v = std over classes of softmax(logit_map)``, background ``v < threshold``, object
    ``v > threshold + gap``. With ``p = sigmoid(logit_map[label])`` the loss is the mean over pixels
    of ``background p + object (1 - p)``; pixels between the two thresholds count as zero.

    Args:
        logit_map: class maps before any softmax, ``(B, K, h, w)`` with K >= 2.
        label: class of each image, int64, ``(B,)``, from 0 to K - 1.
        threshold: below it a pixel is background. The standard deviation of a softmax over K
            classes is at most ``sqrt(K - 1) / K``: 0.07 for 200 classes.
        gap: above ``threshold + gap`` a pixel is object.
        released: take the authors' ``v`` instead: the unbiased variance, min-maxed over each
            image, so that ``threshold`` and ``gap`` are fractions whatever the number of classes.
        reduction: ``mean`` over images, ``sum``, or ``none`` for one value per image, ``(B,)``.

    Returns:
        The loss, in [0, 1] unless summed. Gradients reach the label's map only: the masks are
        constants. An image on which all classes are equal everywhere is background; NaN or inf give
        NaN.

    Raises:
        TypeError: ``logit_map`` is not a floating-point tensor or ``label`` not int64.
        ValueError: shapes or devices disagree, K is 1, ``threshold`` is not finite, ``gap`` is not
            a finite number >= 0, a label is out of range (on a GPU torch's own indexing fails
            instead), or ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> logit_map = torch.tensor([[[[9.0, 0.0]], [[-9.0, 0.0]]]])  # class 0 sees the left pixel
        >>> label = torch.tensor([0])
        >>> restricted_activation_loss(logit_map, label, threshold=0.1, gap=0.2)
        tensor(0.2501)

    Reference:
        Pan et al., "Unveiling the Potential of Structure Preserving for WSOL", CVPR 2021,
        Eqs. 2-5. ``released`` follows the released code, which differs from Eq. 3.

    """
    check_reduction(reduction)
    threshold = check_number("threshold", threshold)
    gap = check_number("gap", gap, low=0)
    released = check_flag("released", released)
    check_tensors(logit_map=(logit_map, "B K h w"))
    check_labels("label", label, logit_map=logit_map, classes=logit_map.shape[1])
    if logit_map.shape[1] < 2:
        raise ValueError(
            f"logit_map: expected at least 2 classes, got shape {tuple(logit_map.shape)}"
        )
    logits = working(logit_map)
    index = for_autograd(label)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    activation = logits.gather(1, index)[:, 0].sigmoid()
    spread = _spread(logits.detach(), released)
    background, foreground = spread < threshold, spread > threshold + gap
    # NaN is in neither mask: pass it to the loss, whether or not the activation is NaN too.
    unknown = torch.where(spread.isnan(), spread, 0.0)
    values = activation * background + (1 - activation) * foreground + unknown
    return reduced(values.mean((1, 2)), reduction, logit_map.dtype)


def _spread(logits: Tensor, released: bool) -> Tensor:
    probability = logits.softmax(1)
    if not released:
        return (probability - probability.mean(1, keepdim=True)).square().mean(1).sqrt()
    centered = probability - probability.mean(1, keepdim=True)
    variance = centered.square().sum(1) / (probability.shape[1] - 1)
    finite = variance.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    # For equal classes the variance is squared rounding, which its maximum cannot reveal.
    noise = (8 * torch.finfo(logits.dtype).eps / logits.shape[1]) ** 2
    spread = rescale(variance, (-2, -1), flat=rounding(variance) + noise)
    return torch.where(finite, spread, torch.nan)
