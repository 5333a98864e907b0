"""Colors of images that were normalized for a network."""

from __future__ import annotations

import torch
from torch import Tensor


def to_colors(images: Tensor) -> Tensor:
    """Rescale each image ``(B, 3, H, W)`` to [0, 1] by its minimum and maximum over all channels.

    Whatever mean and standard deviation it was normalized with, if they are about the same for all
    channels the differences between colors keep their proportions. A constant image becomes zero.
    """
    low, high = (end((1, 2, 3), keepdim=True) for end in (images.amin, images.amax))
    return (images - low) / (high - low).clamp_min(torch.finfo(images.dtype).eps)
