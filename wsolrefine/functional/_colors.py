"""Colors of images that were normalized for a network."""

from __future__ import annotations

import torch
from torch import Tensor


def to_colors(images: Tensor) -> Tensor:
    """Rescale each image ``(B, 3, H, W)`` to [0, 1] by its minimum and maximum over all channels.

    The differences between colors keep their proportions if the image was normalized with about the
    same mean and standard deviation for all channels. A constant image becomes zero.
    """
    low, high = (end((1, 2, 3), keepdim=True) for end in (images.amin, images.amax))
    return (images - low) / (high - low).clamp_min(torch.finfo(images.dtype).eps)
