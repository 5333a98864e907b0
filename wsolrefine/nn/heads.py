"""Heads: class maps of one stage, and edges from all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsolrefine._check import check_features, check_tensors
from wsolrefine.functional.grid import largest_grid, resize


class ConvolutionalHead(nn.Sequential):
    """Class maps from features: two 3x3 convolutions and a 1x1 convolution (ACoL's classifier).

    The class scores are the means of the maps over the grid, so a map needs no second pass: it is
    the class's CAM.

    Args:
        in_channels: of the features.
        num_classes: number of maps.
        width: channels of the 3x3 convolutions.
        dropout: before each of them, in training.

    Example:
        >>> import torch
        >>> head = ConvolutionalHead(8, 5, width=16).eval()
        >>> head(torch.rand(2, 8, 14, 14)).shape
        torch.Size([2, 5, 14, 14])

    Reference:
        Zhang et al., "Adversarial Complementary Learning for Weakly Supervised Object
        Localization", CVPR 2018, Sec. 3.1; used by SPA (Sec. 4.1) and CSoA (Sec. 4.1).

    """

    def __init__(
        self, in_channels: int, num_classes: int, *, width: int = 1024, dropout: float = 0.5
    ) -> None:
        super().__init__(
            nn.Dropout(dropout),
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, num_classes, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return class maps ``(B, num_classes, h, w)`` of features ``(B, C, h, w)``."""
        check_tensors(features=(features, "B C h w"))
        for step in self:
            features = step(features)
        return features


class EdgeHead(nn.Module):
    """Edge scores from all stages: each adapted by a convolution, enlarged, and read together.

    The layers after the enlargement are our choice; the paper only names the two steps before.

    Args:
        channels: of each stage.
        width: channels that each stage is brought to.

    Raises:
        ValueError: ``channels`` is empty.

    Example:
        >>> import torch
        >>> head = EdgeHead([4, 8]).eval()
        >>> head([torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]).shape
        torch.Size([2, 8, 8])

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 3.3 and Fig. 4.

    """

    def __init__(self, channels: Sequence[int], *, width: int = 32) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels: expected at least one stage, got none")
        self.adapt = nn.ModuleList(
            nn.Sequential(nn.Conv2d(number, width, 1), nn.ReLU()) for number in channels
        )
        self.read = nn.Sequential(
            nn.Conv2d(len(channels) * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits ``(B, H, W)`` of edges on the finest grid of the stages."""
        layers = check_features(features)
        if len(layers) != len(self.adapt):
            raise ValueError(f"features: expected {len(self.adapt)} stages, got {len(layers)}")
        size = largest_grid(layers)
        adapted = [
            resize(step(stage), size) for step, stage in zip(self.adapt, layers, strict=True)
        ]
        logits: Tensor = self.read(torch.cat(adapted, 1))
        return logits[:, 0]
