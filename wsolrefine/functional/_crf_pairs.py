"""Mean field over pairs of pixels at one offset at a time: no copies of neighbors, for CPUs.

A pair is computed once for both of its pixels. For each offset the arithmetic runs along the whole
image, which stays in a CPU's cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._crf_kernel import CrfKernel, messages_of_labels, pull


def mean_field_of_pairs(
    scores: Tensor, colors: Tensor, radius: int, iterations: int, kernel: CrfKernel
) -> Tensor:
    """Return the probabilities ``(B, K, H, W)`` after so many updates."""
    height, width = scores.shape[-2:]
    shape = scores.shape
    # One flat axis with padding columns on the right: a neighbor is then always at the same
    # offset, and one outside the image falls into a padding column.
    beside = min(radius, width - 1)
    inside = F.pad(scores.new_ones(height, width), (0, beside)).flatten()
    scores, colors = (F.pad(maps, (0, beside)).flatten(2) for maps in (scores, colors))
    steps = [
        (row * (width + beside) + column, row**2 + column**2)
        for row in range(min(radius, height - 1) + 1)
        for column in range(-beside, beside + 1)
        if (row, column) > (0, 0)  # the other half are the same pairs, reversed
    ]
    plain = torch.zeros_like(colors[:1, :1])
    values = _kernel(colors, kernel.color_std, kernel.appearance_std, inside, steps)
    smoothness = _kernel(plain, 1.0, kernel.smoothness_std, inside, steps)
    for index, other in enumerate(smoothness):
        weighted = kernel.appearance_weight * values[index]
        values[index] = weighted + kernel.smoothness_weight * other

    probability = scores.softmax(1)
    for _ in range(iterations):
        messages = _messages(messages_of_labels(probability), values, steps)
        probability = (scores + F.pad(messages, (0, 0, 1, 0))).softmax(1)
    return probability.reshape(*shape[:3], width + beside)[..., :width]


def _kernel(
    colors: Tensor, color_std: float, std: float, inside: Tensor, steps: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Return the normalized kernel of the pixel pairs of each step, ``(B, 1, N - step)``."""
    values = []
    total = torch.ones_like(colors[:, :1])  # each pixel with itself
    for step, square in steps:
        value = pull(colors[..., step:] - colors[..., :-step], square, color_std, std)
        value = value * (inside[:-step] * inside[step:])
        total[..., :-step] += value
        total[..., step:] += value
        values.append(value)
    scale = total.rsqrt()
    for index, (step, _) in enumerate(steps):  # in place, so that nothing is held twice
        values[index] = values[index] * scale[..., :-step] * scale[..., step:]
    return values


def _messages(labels: Tensor, kernel: Sequence[Tensor], steps: Sequence[tuple[int, int]]) -> Tensor:
    """Return the message that each pixel receives from the others, ``(B, K - 1, N)``."""
    messages = torch.zeros_like(labels)
    for (step, _), value in zip(steps, kernel, strict=True):
        messages[..., :-step].addcmul_(value, labels[..., step:])
        messages[..., step:].addcmul_(value, labels[..., :-step])
    return messages
