"""Mean field over whole windows: few operations, for graphs, vmap and GPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._crf_kernel import CrfKernel, messages_of_labels, pull
from wsolrefine.functional._windows import inside_windows, windows

_WINDOW = (2, 4)  # the axes of a window's pixels


def mean_field_in_windows(
    scores: Tensor, colors: Tensor, radius: int, iterations: int, kernel: CrfKernel
) -> Tensor:
    """Return the probabilities ``(B, K, H, W)`` after so many updates."""
    distance = torch.arange(-radius, radius + 1, device=scores.device, dtype=scores.dtype).square()
    squares = distance[:, None, None, None] + distance[:, None]  # (R, 1, R, 1)
    inside = inside_windows(scores, radius)
    apart = windows(colors, radius) - colors[:, :, None, :, None]
    appearance = pull(apart, squares, kernel.color_std, kernel.appearance_std)
    smoothness = pull(torch.zeros_like(apart[:1, :1]), squares, 1.0, kernel.smoothness_std)
    values = kernel.appearance_weight * _normalized(appearance * inside, radius)
    values = values + kernel.smoothness_weight * _normalized(smoothness * inside, radius)
    values = values * (squares > 0)  # a pixel sends nothing to itself

    probability = scores.softmax(1)
    for _ in range(iterations):
        received = values * windows(messages_of_labels(probability), radius)
        messages = received.sum(_WINDOW)
        probability = (scores + F.pad(messages, (0, 0, 0, 0, 1, 0))).softmax(1)
    return probability


def _normalized(values: Tensor, radius: int) -> Tensor:
    """Divide ``A[i, j]`` by ``sqrt(d_i d_j)``, with d the sum over the window."""
    scale = values.sum(_WINDOW).rsqrt()
    return values * scale[:, :, None, :, None] * windows(scale, radius)
