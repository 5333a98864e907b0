"""SPOL's multiplicative channel attention: channel weights that all stages agree on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import mul

from torch import Tensor, nn

from wsolrefine._options import check_count, check_counts
from wsolrefine.nn._inputs import check_stages


class MultiplicativeChannelAttention(nn.Module):
    """Weight the channels of every stage by what all stages have in common.

    ``g_l = ReLU(BN(conv(mean of f_l over its grid)))`` of ``width`` channels each, their product
    ``V = g_1 g_2 ...``, and ``f_l sigmoid(conv_l(V))`` for each stage. Batch norm and ReLU are the
    released code's; the paper leaves them out.

    Args:
        channels: number of channels of each stage.
        width: number of channels that the stages share.

    Raises:
        TypeError: a number of channels is not an integer.
        ValueError: ``channels`` is empty, or a number is below 1. In training mode a batch of one
            raises, because batch norm cannot take its variance.

    Example:
        >>> import torch
        >>> attention = MultiplicativeChannelAttention([4, 8]).eval()
        >>> stages = [torch.rand(2, 4, 6, 6), torch.rand(2, 8, 3, 3)]
        >>> [tuple(weighted.shape) for weighted in attention(stages)]
        [(2, 4, 6, 6), (2, 8, 3, 3)]

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Sec. 3.3 and Fig. 5.

    """

    def __init__(self, channels: Sequence[int], *, width: int = 128) -> None:
        super().__init__()
        channels, width = check_counts("channels", channels), check_count("width", width)
        self.channels = channels
        self.shared = nn.ModuleList(
            nn.Sequential(nn.Conv2d(number, width, 1), nn.BatchNorm2d(width), nn.ReLU())
            for number in channels
        )
        self.weights = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, number, 1), nn.Sigmoid()) for number in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the stages ``(B, C, h, w)`` with weighted channels, shapes unchanged."""
        layers = check_stages(self, features, self.channels)
        means = [stage.mean((2, 3), keepdim=True) for stage in layers]
        common = reduce(mul, [share(mean) for share, mean in zip(self.shared, means, strict=True)])
        return [stage * weigh(common) for stage, weigh in zip(layers, self.weights, strict=True)]
