"""What pulls two pixels of a conditional random field towards one label."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CrfKernel(NamedTuple):
    """Weights in units of the scores, standard deviations in pixels and in units of the image."""

    appearance_weight: float
    appearance_std: float
    color_std: float
    smoothness_weight: float
    smoothness_std: float


def pull(apart: Tensor, squares: float | Tensor, color_std: float, std: float) -> Tensor:
    """Return ``exp(-|c_i - c_j|^2 / (2 color_std^2) - |p_i - p_j|^2 / (2 std^2))``.

    ``apart`` holds the differences of the colors, on axis 1: subtracted before they are divided, so
    that equal ones stay equal, however small the standard deviation. ``squares`` holds the squared
    distances of the positions.
    """
    colors = (apart / color_std).square().sum(1, keepdim=True) / 2
    return torch.exp(-(colors + squares / (2 * std**2)))


def messages_of_labels(probability: Tensor) -> Tensor:
    """Return what is summed over neighbors: each label's probability minus that of the first.

    Softmax depends only on differences between labels, so the first one needs no message.
    """
    return probability[:, 1:] - probability[:, :1]
