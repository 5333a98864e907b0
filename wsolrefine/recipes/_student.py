"""The small networks that distillation trains: feature maps to one map, before the sigmoid."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from wsolrefine.functional._grid import resize, side_by_side
from wsolrefine.nn import ActivationGenerator, MFFNet


class GeneratorStudent(nn.Module):
    """An activation generator on feature maps side by side, on the finest of their grids."""

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        self.generator = ActivationGenerator(sum(channels), width=width)
        # The cross entropy of logits has a gradient also where a sigmoid is 0 or 1 to rounding.
        self.generator.activate[-1] = nn.Identity()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits ``(B, h, w)`` from maps ``(B, C, h, w)``."""
        logits: Tensor = self.generator(side_by_side(features)).probability
        return logits


class MFFStudent(nn.Module):
    """An MFF-Net with one output, which fuses all of its feature maps."""

    def __init__(self, channels: Sequence[int], *, width: int, dropout: float) -> None:
        super().__init__()
        self.network = MFFNet(channels, 1, stages=len(channels), width=width, dropout=dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return logits ``(B, h, w)`` from maps ``(B, C, h, w)``."""
        fused: Tensor = self.network(features).fused
        return fused[:, 0]


def on_grid(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, h, w)`` of a teacher; where they are finer, every pixel counts.

    Example:
        >>> import torch
        >>> on_grid(torch.tensor([[[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]]), (1, 2))
        tensor([[[0.2500, 0.5000]]])

    """
    if maps.shape[-2] > size[0] and maps.shape[-1] > size[1]:
        return adaptive_avg_pool2d(maps, size)
    return resize(maps, size)
