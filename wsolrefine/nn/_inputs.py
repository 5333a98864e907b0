"""Checks of what a module with weights is given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsolrefine._check import check_features, check_tensors
from wsolrefine.functional._numeric import for_autograd


def check_stages(
    module: nn.Module, features: Tensor | Sequence[Tensor], channels: Sequence[int]
) -> list[Tensor]:
    """Return features ``(B, C, h, w)`` as a list, checked against what the module was made for.

    Raises:
        TypeError: a stage is not a floating-point tensor, or has another dtype than the weights.
        ValueError: there are more or fewer stages than ``channels``, one has another number of
            channels, or it is not on the module's device.

    Example:
        >>> import torch
        >>> check_stages(nn.Conv2d(3, 8, 1), torch.rand(1, 4, 5, 5), [3])
        Traceback (most recent call last):
            ...
        ValueError: features: expected shape (B, 3, h, w), got (1, 4, 5, 5)

    """
    layers = check_features(features)
    if len(layers) != len(channels):
        raise ValueError(f"features: expected {len(channels)} stages, got {len(layers)}")
    weight = next(module.parameters())
    for i, (layer, number) in enumerate(zip(layers, channels, strict=True)):
        name = "features" if isinstance(features, Tensor) else f"features[{i}]"
        check_tensors(**{name: (layer, f"B {number} h w")})
        if layer.device != weight.device:
            raise ValueError(f"{name}: expected {weight.device} as the module, got {layer.device}")
        if layer.dtype != weight.dtype and not torch.is_autocast_enabled(layer.device.type):
            raise TypeError(f"{name}: expected {weight.dtype} as the module, got {layer.dtype}")
    return [for_autograd(layer) for layer in layers]
