"""Outlines of masks, one pixel wide."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from wsolrefine._check import check_integer
from wsolrefine.functional.thinning import thin


def outline(mask: Tensor) -> Tensor:
    """Return the pixels of each object that touch background, as lines one pixel wide.

    A pixel touches background if one of its four neighbors is background; these pixels are
    thinned by :func:`wsolrefine.thin`.

    Args:
        mask: ``(B, H, W)`` integers: 1 object, 0 background. Any other label is neither and gives
            no line, such as the 255 of ignored pixels.

    Returns:
        ``(B, H, W)`` bool, on the mask's device. There is no line where the border of the image
        cuts off an object. Not differentiable.

    Raises:
        TypeError: ``mask`` is not a tensor of integers.
        ValueError: ``mask`` is not ``(B, H, W)``, or has no values (meta device).

    Example:
        >>> import torch
        >>> mask = torch.tensor([[1, 1, 1, 0, 0]] * 3, dtype=torch.uint8)
        >>> outline(mask[None]).int()[0, 0]
        tensor([0, 0, 1, 0, 0], dtype=torch.int32)

    Reference:
        Arbelaez et al., "Contour Detection and Hierarchical Image Segmentation", PAMI 2011, for
        the use of thin boundaries as ground truth.

    """
    check_integer("mask", mask, "B H W")
    background = pad((mask == 0)[:, None].float(), (1, 1, 1, 1))[:, 0] > 0
    beside = background[:, :-2, 1:-1] | background[:, 2:, 1:-1]
    beside |= background[:, 1:-1, :-2] | background[:, 1:-1, 2:]
    return thin((mask == 1) & beside)
