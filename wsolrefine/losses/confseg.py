"""CSoA's ConfSeg loss: one map follows another where the other is confident."""

from __future__ import annotations

from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.functional._numeric import working
from wsolrefine.functional.confseg import confseg
from wsolrefine.losses._reduce import Reduction, check_reduction, reduced


def confseg_loss(auxiliary_map: Tensor, cam: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Pull the auxiliary map towards the CAM on the CAM's confident pixels.

    ``sum over pixels of |auxiliary_map - cam| confident`` with ``confident`` from
    :func:`wsolrefine.confseg`. Elsewhere the auxiliary map is free to find the object's border.

    Args:
        auxiliary_map: the label's map of the classifier on the earlier layer, ``(B, h, w)``.
        cam: the label's map of the classifier on the last layer, ``(B, h, w)``, not rescaled: its
            scale is the scale of the loss.
        reduction: ``mean`` over images, ``sum``, or ``none`` for one value per image, ``(B,)``.

    Returns:
        The loss, a sum over pixels. Gradients reach ``auxiliary_map`` only: the CAM is the
        supervision. Zero for a CAM that is constant or not finite: it has no confident pixel.

    Raises:
        TypeError: a map is not a floating-point tensor, or dtypes differ.
        ValueError: shapes or devices disagree, or ``reduction`` is unknown.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[0.0, 0.4, 0.5, 0.6, 1.0]]])  # confident of the two ends
        >>> confseg_loss(torch.tensor([[[0.2, 9.0, 9.0, 9.0, 0.5]]]), cam)
        tensor(0.7000)

    Reference:
        Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised
        Augmentation", WACV 2021, Eq. 5. The paper does not say how to average over images.

    """
    check_reduction(reduction)
    check_tensors(auxiliary_map=(auxiliary_map, "B h w"), cam=(cam, "B h w"))
    confident = confseg(cam.detach()).confident
    distance = (working(auxiliary_map) - working(cam.detach())).abs()
    # Pixels that are not confident may be NaN, and zero times NaN would still be NaN.
    values = distance.where(confident, 0.0).sum((1, 2))
    return reduced(values, reduction, auxiliary_map.dtype)
