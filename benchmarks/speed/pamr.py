"""pamr next to the bare arithmetic that its result needs, and next to copies of all neighbors.

Inputs: a smooth random image and smooth random maps.
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
from wsolrefine import pamr

DILATIONS = (1, 2, 4, 8, 12, 24)
ITERATIONS = 10
SHAPES = [(16, 1, 112), (16, 4, 112), (4, 1, 224)]  # images, maps of an image, side


def inputs(batch: int, maps: int, side: int, device: str) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, maps + 3, 14, 14, device=device)
    large = F.interpolate(coarse, size=(side, side), mode="bicubic")
    return coarse[:, :maps], large[:, maps:]


def floor(maps: Tensor, image: Tensor) -> None:
    """For each neighbor the difference of the colors, twice, and a product in each iteration.

    Each neighbor lies where the pixel lies: nothing is shifted, padded or resized.
    """
    count = 8 * len(DILATIONS)
    other, values = image.clone(), maps.new_zeros(*maps.shape[:2], *image.shape[-2:])
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for _ in range(count):
        apart = other - image
        total.add_(apart)
        squares.addcmul_(apart, apart)
    weights = image.new_empty(len(image), count, *image.shape[-2:])
    for weight in weights.unbind(1):
        torch.sum((other - image).abs_().mul_(squares), 1, out=weight)
    shares = weights.softmax(1).unbind(1)
    for _ in range(ITERATIONS):
        refined = torch.zeros_like(values)
        for share in shares:
            refined.addcmul_(share[:, None], values)


def one_by_one(maps: Tensor, image: Tensor) -> None:
    """Call the floor for one image at a time, whose weights stay in the cache of a CPU."""
    for of, some in zip(torch.split(maps, 1), torch.split(image, 1), strict=True):
        floor(of, some)


def copies(maps: Tensor, image: Tensor) -> Tensor:
    """Compute the same with a copy of the image and of the maps for each neighbor."""
    size = image.shape[-2:]
    values = F.interpolate(maps, size, mode="bilinear")
    around = _around(image)
    center = image[:, :, None]
    window = torch.cat([around, center.expand(-1, -1, len(DILATIONS), -1, -1)], 2)
    weights = (around - center).abs() / (0.1 * window.std(2, keepdim=True))
    weights = (-weights).mean(1, keepdim=True).softmax(2)
    for _ in range(ITERATIONS):
        values = (weights * _around(values)).sum(2)
    return values


def _around(maps: Tensor) -> Tensor:
    """Return all neighbors, (B, C, 48, H, W)."""
    found = []
    for step in DILATIONS:
        padded = F.pad(maps, (step, step, step, step), mode="replicate")
        nine = F.unfold(padded, 3, dilation=step).reshape(*maps.shape[:2], 9, *maps.shape[-2:])
        found.append(torch.cat([nine[:, :, :4], nine[:, :, 5:]], 2))
    return torch.cat(found, 2)


def bench_pamr(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds per image, except for the ratios (pamr / floor, copies / pamr).
    print("pamr  B   K    H |     pamr    floor  ratio |   copies  ratio")
    shapes = SHAPES if least_runs else SHAPES[:1]
    return [_row(*shape, least_runs, device) for shape in shapes]


def _row(batch: int, maps: int, side: int, least_runs: int, device: str) -> dict[str, object]:
    given, image = inputs(batch, maps, side, device)
    calls: dict[str, Callable[[], object]] = {
        "pamr": partial(pamr, given, image),
        "floor": partial(one_by_one if device == "cpu" else floor, given, image),
        "copies": partial(copies, given, image),
    }
    with torch.inference_mode():
        assert_close(copies(given, image), pamr(given, image), rtol=0, atol=1e-4)
        times = time_in_turn(calls, least_runs, device)
    ms = {name: 1e3 * statistics.median(values) / batch for name, values in times.items()}
    ratio = median_ratio(times["pamr"], times["floor"])
    slower = median_ratio(times["copies"], times["pamr"])
    print(
        f"{batch:>7} {maps:>3} {side:>4} | {ms['pamr']:8.1f} {ms['floor']:8.1f} {ratio:6.2f} "
        f"| {ms['copies']:8.1f} {slower:6.1f}",
        flush=True,
    )
    return {
        "shape": [batch, maps, side, side],
        "milliseconds per image": ms,
        "pamr / floor": ratio,
        "copies / pamr": slower,
        "runs": len(times["pamr"]),
    }
