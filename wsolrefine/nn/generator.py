"""ORNet's generator: an activation map from shallow features."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from wsolrefine._options import check_count
from wsolrefine.functional._grid import resize
from wsolrefine.nn._inputs import check_stages

INNER_CHANNELS = 16
"""Channels before the map, if there are no classes that say how many."""


class Activation(NamedTuple):
    """Object probability ``(B, h, w)`` and class scores ``(B, K)``; None without that head."""

    probability: Tensor
    auxiliary_logits: Tensor | None


class ActivationGenerator(nn.Module):
    """Turn low-level features into the object probability of each pixel.

    Shallow features are noisy, so an encoder-decoder comes first: two convolutions of stride 2, two
    upsampling steps (with skip connections from the encoder), and a convolution to a few inner
    channels, ``f`` (the paper: as many as classes). Then ``p = sigmoid(BN(conv(f)))`` (Eq. 2; the
    sigmoid is implied by the losses) and, if there is an auxiliary head, its class scores
    ``mean(conv(f))`` (Eq. 4). The paper does not give the layers of the encoder-decoder nor initial
    weights: these are our choice.

    Args:
        in_channels: number of channels of the shallow features.
        num_classes: number of classes of the auxiliary head; None: no such head.
        inner_channels: number of channels of ``f``; None: ``num_classes``, or 16 without classes
            (our choice).
        width: number of channels of the encoder.

    Raises:
        TypeError: a number is not an integer.
        ValueError: a number is below 1.

    Example:
        >>> import torch
        >>> generator = ActivationGenerator(8, 5).eval()
        >>> activation = generator(torch.rand(2, 8, 14, 10))
        >>> activation.probability.shape, activation.auxiliary_logits.shape
        (torch.Size([2, 14, 10]), torch.Size([2, 5]))
        >>> ActivationGenerator(8).eval()(torch.rand(2, 8, 14, 10)).auxiliary_logits is None
        True

    Reference:
        Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL",
        ICCV 2021, Eqs. 2 and 4.

    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None = None,
        *,
        inner_channels: int | None = None,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels = check_count("in_channels", in_channels)
        if num_classes is not None:
            num_classes = check_count("num_classes", num_classes)
        if inner_channels is None:
            inner_channels = INNER_CHANNELS if num_classes is None else num_classes
        inner_channels = check_count("inner_channels", inner_channels)
        width = check_count("width", width)
        self.stem = _block(in_channels, width)
        self.down = nn.ModuleList([_block(width, width, 2), _block(width, width, 2)])
        self.up = nn.ModuleList([_block(width, width), _block(width, width)])
        self.classes = nn.Sequential(nn.Conv2d(width, inner_channels, 3, padding=1), nn.ReLU())
        summed = nn.Conv2d(inner_channels, 1, 1)
        self.activate = nn.Sequential(summed, nn.BatchNorm2d(1), nn.Sigmoid())
        # At first the map is the mean of the inner channels, which are also the auxiliary head's:
        # what is evidence for a class is object. With random weights it is as often the background.
        nn.init.constant_(summed.weight, 1 / inner_channels)
        self.auxiliary: nn.Conv2d | None = None
        if num_classes is not None:
            self.auxiliary = nn.Conv2d(inner_channels, num_classes, 1)
            nn.init.dirac_(self.auxiliary.weight)

    def forward(self, features: Tensor) -> Activation:
        """Return the probability, and class scores if asked for, of features ``(B, C, h, w)``."""
        (features,) = check_stages(self, features, [self.in_channels])
        fine = self.stem(features)
        half = self.down[0](fine)
        values = self.down[1](half)
        for step, skip in zip(self.up, (half, fine), strict=True):
            values = step(resize(values, (skip.shape[-2], skip.shape[-1])) + skip)
        values = self.classes(values)
        auxiliary = None if self.auxiliary is None else self.auxiliary(values).mean((2, 3))
        return Activation(self.activate(values)[:, 0], auxiliary)


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
