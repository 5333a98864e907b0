"""conv_crf next to the plain form, which copies the window of every pixel.

Inputs: a smooth random image and random scores.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import conv_crf

ITERATIONS = 5
WEIGHTS = (10.0, 1.0)  # appearance, smoothness
STDS = (10.0, 0.08, 1.5)  # positions, colors, positions of smoothness
CASES = [(8, 2, 112, 11), (4, 2, 224, 11), (2, 2, 224, 21)]  # images, labels, side, kernel size


def inputs(batch: int, labels: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, 3, 14, 14, device=device)
    image = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return torch.randn(batch, labels, side, side, device=device), image


def plain(unary: Tensor, image: Tensor, kernel_size: int) -> Tensor:
    """Compute the same with a copy of the window of each pixel, in every update."""
    unfold = partial(F.unfold, kernel_size=kernel_size, padding=kernel_size // 2)
    batch, height, width = len(unary), *unary.shape[-2:]
    window = kernel_size**2

    def around(maps: Tensor) -> Tensor:
        return unfold(maps).reshape(batch, maps.shape[1], window, height, width)

    distance = torch.arange(kernel_size, device=unary.device) - kernel_size // 2
    squares = (distance[:, None] ** 2 + distance**2).flatten()[:, None, None]
    inside = around(torch.ones_like(image[:, :1]))[:, 0]
    colors = (around(image) - image[:, :, None]).square().sum(1) / (2 * STDS[1] ** 2)
    kernels = [
        inside * (-colors - squares / (2 * STDS[0] ** 2)).exp(),
        inside * (-squares / (2 * STDS[2] ** 2)).exp(),
    ]
    total = torch.zeros_like(inside)
    for weight, kernel in zip(WEIGHTS, kernels, strict=True):
        scale = kernel.sum(1, keepdim=True).rsqrt()
        total = total + weight * kernel * scale * around(scale)[:, 0]
    total = total * (squares > 0)
    probability = unary.softmax(1)
    for _ in range(ITERATIONS):
        probability = (unary + (total[:, None] * around(probability)).sum(2)).softmax(1)
    return probability


def bench_conv_crf(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds per image, except for the ratio (plain / conv_crf).
    print("conv_crf  B   K    H window | conv_crf    plain  ratio")
    return [_row(*case, least_runs, device) for case in (CASES if least_runs else CASES[:1])]


def _row(
    batch: int, labels: int, side: int, kernel_size: int, least_runs: int, device: str
) -> dict[str, object]:
    unary, image = inputs(batch, labels, side, device)
    calls: dict[str, Callable[[], object]] = {
        "conv_crf": partial(conv_crf, unary, image, kernel_size=kernel_size),
        "plain": partial(plain, unary, image, kernel_size),
    }
    with torch.inference_mode():
        expected = plain(unary, image, kernel_size)
        assert_close(conv_crf(unary, image, kernel_size=kernel_size), expected, rtol=0, atol=1e-4)
        times = time_in_turn(calls, least_runs, device)
    ms = {name: 1e3 * statistics.median(values) / batch for name, values in times.items()}
    ratio = median_ratio(times["plain"], times["conv_crf"])
    print(
        f"{batch:>11} {labels:>3} {side:>4} {kernel_size:>6} | {ms['conv_crf']:8.1f} "
        f"{ms['plain']:8.1f} {ratio:6.2f}",
        flush=True,
    )
    return {
        "shape": [batch, labels, side, side],
        "kernel size": kernel_size,
        "milliseconds per image": ms,
        "plain / conv_crf": ratio,
        "runs": len(times["conv_crf"]),
    }
