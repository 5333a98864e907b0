"""SPOL's multiplicative feature fusion network: shallow detail where deep stages agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add, mul
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from wsolrefine._options import (
    check_choice,
    check_count,
    check_counts,
    check_flag,
    check_number,
)
from wsolrefine.functional._grid import largest_grid
from wsolrefine.nn._inputs import check_stages
from wsolrefine.nn.attention import MultiplicativeChannelAttention

Fusion = Literal["multiplication", "addition", "concatenation"]


class MFFMaps(NamedTuple):
    """Output maps ``(B, num_outputs, h, w)`` of the deepest stage alone and of the fused stages."""

    deep: Tensor
    fused: Tensor


class MFFNet(nn.Module):
    """Fuse the last stages of a backbone into output maps on the finest of their grids.

    Each stage, weighted by :class:`wsolrefine.nn.MultiplicativeChannelAttention`, is reduced to
    ``width`` channels, ``o_l = ReLU(BN(conv(f_l)))``, upsampled to the finest grid
    (``align_corners=True``, as released) and fused: ``o = o_n ... o_2 o_1`` (Eq. 1). One shared 1x1
    convolution makes the output maps of ``o`` and of the deepest stage alone.

    Args:
        channels: number of channels of each stage of the backbone, shallow to deep; there may be
            more stages than are fused.
        num_outputs: number of classes, or 1 for a class-agnostic segmentation.
        stages: how many of the last stages to fuse (Table 2: 1 to 4).
        fusion: ``multiplication`` is the paper's; ``addition`` and ``concatenation`` (with one more
            1x1 convolution) are the alternatives that it compares with.
        attention: False leaves out the attention.
        width: number of channels of each stage before the fusion.
        dropout: dropout probability before the last convolution, in training.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: ``stages`` is not from 1 to the number of ``channels``, ``fusion`` is unknown, a
            number is below 1, or ``dropout`` is not in [0, 1]. With ``attention``, a batch of one
            raises in training mode.

    Example:
        >>> import torch
        >>> network = MFFNet([4, 8, 16], 5, stages=2).eval()
        >>> features = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4), torch.rand(2, 16, 2, 2)]
        >>> maps = network(features)
        >>> maps.deep.shape, maps.fused.shape
        (torch.Size([2, 5, 4, 4]), torch.Size([2, 5, 4, 4]))

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Sec. 3.2, Eq. 1, Fig. 4, Table 2.

    """

    def __init__(
        self,
        channels: Sequence[int],
        num_outputs: int,
        *,
        stages: int = 3,
        fusion: Fusion = "multiplication",
        attention: bool = True,
        width: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels = check_counts("channels", channels)
        num_outputs = check_count("num_outputs", num_outputs)
        stages = check_count("stages", stages, high=len(channels))
        fusion = check_choice("fusion", fusion, get_args(Fusion))
        attention = check_flag("attention", attention)
        width = check_count("width", width)
        dropout = check_number("dropout", dropout, low=0, high=1)
        used = channels[-stages:]
        self.channels, self.stages, self.fusion = channels, stages, fusion
        self.attention = MultiplicativeChannelAttention(used, width=width) if attention else None
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(number, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for number in used
        )
        self.join = nn.Conv2d(stages * width, width, 1) if fusion == "concatenation" else None
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(width, num_outputs, 1))

    def forward(self, features: Sequence[Tensor]) -> MFFMaps:
        """Return the output maps from a backbone's list of feature maps ``(B, C, h, w)``."""
        layers = check_stages(self, features, self.channels)
        layers = layers[-self.stages :]
        size = largest_grid(layers)
        if self.attention is not None:
            layers = self.attention(layers)
        reduced = [
            interpolate(step(stage), size, mode="bilinear", align_corners=True)
            for step, stage in zip(self.reduce, layers, strict=True)
        ]
        deep = self.head(reduced[-1])
        return MFFMaps(deep, self.head(self._fuse(reduced)) if self.stages > 1 else deep)

    def _fuse(self, stages: list[Tensor]) -> Tensor:
        if self.join is not None:
            joined: Tensor = self.join(torch.cat(stages, 1))
            return joined
        return reduce(mul if self.fusion == "multiplication" else add, stages)
