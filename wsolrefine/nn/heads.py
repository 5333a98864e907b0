"""Heads: class maps of one stage, and edges from several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_counts, check_number, check_size
from wsolrefine.functional._grid import resize
from wsolrefine.nn._inputs import check_stages


class ConvolutionalHead(nn.Sequential):
    """Class maps from features: two 3x3 convolutions and a 1x1 convolution (ACoL's classifier).

    The class scores are the means of the maps over the grid, so a map is already its class's CAM
    and no second pass is needed.

    Args:
        in_channels: number of channels of the features.
        num_classes: number of maps.
        width: number of channels of the 3x3 convolutions.
        dropout: dropout probability before each of them, in training.

    Raises:
        TypeError: an argument is not a number.
        ValueError: a number of channels or classes is below 1, or ``dropout`` is not in [0, 1].

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
        in_channels = check_count("in_channels", in_channels)
        num_classes = check_count("num_classes", num_classes)
        width = check_count("width", width)
        dropout = check_number("dropout", dropout, low=0, high=1)
        super().__init__(
            nn.Dropout(dropout),
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, num_classes, 1),
        )
        self.in_channels = in_channels

    def forward(self, features: Tensor) -> Tensor:
        """Return class maps ``(B, num_classes, h, w)`` from features ``(B, C, h, w)``."""
        (features,) = check_stages(self, features, [self.in_channels])
        for step in self:
            features = step(features)
        return features


class EdgeHead(nn.Module):
    """Edge scores from several stages and a localization map, combined on one grid.

    A 3x3 convolution with batch norm and ReLU reduces each stage to ``width`` channels, and the
    result is resized to ``size``; three convolutions follow on all of them and the map. The paper
    says only that there are three. Ours are 3x3, 3x3 and 1x1, with ``width``, ``width`` and one
    channel, and a ReLU in between.

    Args:
        channels: number of channels of each stage.
        width: number of channels that each stage is reduced to.
        size: height and width of the grid.

    Raises:
        TypeError: a number is not an integer.
        ValueError: ``channels`` is empty, a number is below 1, or ``size`` is not two. In training
            mode a batch of one with a stage of one pixel raises, because batch norm cannot take its
            variance.

    Example:
        >>> import torch
        >>> head = EdgeHead([4, 8], size=(16, 16)).eval()
        >>> stages = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
        >>> head(stages, torch.rand(2, 4, 4)).shape
        torch.Size([2, 16, 16])

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 4.1.3 and Fig. 4.

    """

    def __init__(
        self, channels: Sequence[int], *, width: int = 128, size: tuple[int, int] = (160, 160)
    ) -> None:
        super().__init__()
        channels, width = check_counts("channels", channels), check_count("width", width)
        self.channels, self.size = channels, check_size("size", size)
        self.adapt = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(number, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for number in channels
        )
        self.read = nn.Sequential(
            nn.Conv2d(len(channels) * width + 1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 1),
        )

    def forward(self, features: Sequence[Tensor], maps: Tensor) -> Tensor:
        """Return edge logits, ``(B, *size)``.

        Args:
            features: the stages, ``(B, C, h, w)`` each.
            maps: localization maps in [0, 1], ``(B, h, w)`` on a grid of any size.

        """
        layers = check_stages(self, features, self.channels)
        check_tensors(**{"features[0]": (layers[0], "B C h w"), "maps": (maps, "B H W")})
        adapted = [
            resize(step(stage), self.size) for step, stage in zip(self.adapt, layers, strict=True)
        ]
        logits: Tensor = self.read(torch.cat([*adapted, resize(maps, self.size)[:, None]], 1))
        return logits[:, 0]
