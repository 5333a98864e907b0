"""label_spreading next to the bare arithmetic that its result needs.

Inputs: random features of the stages of two networks for 224 x 224 pixels, a smooth random image
and a smooth random CAM.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.timing import median_ratio, time_in_turn
from wsolrefine import label_spreading

PIXELS = 224
# Channels and side of the layers.
STAGES = {
    "EfficientNet-Lite0": ((24, 56), (40, 28), (80, 14), (112, 14)),
    "ResNet-50": ((256, 56), (512, 28), (1024, 14)),
}
# Images, network, maps of an image, side of the grid.
CASES = [
    (16, "EfficientNet-Lite0", 1, 28),
    (16, "EfficientNet-Lite0", 10, 28),
    (2, "EfficientNet-Lite0", 1, 56),
    (8, "ResNet-50", 1, 28),
]
PRODUCTS = 31  # for the default alpha, to a relative error of 1e-4


def inputs(batch: int, network: str, maps: int, device: str) -> tuple[Tensor, list[Tensor], Tensor]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, maps + 3, 7, 7, device=device)
    cam, colors = coarse[:, :maps], coarse[:, maps:]
    image = F.interpolate(colors, size=(PIXELS, PIXELS), mode="bicubic")
    layers = [torch.randn(batch, c, side, side, device=device) for c, side in STAGES[network]]
    return cam, layers, image


def floor(cam: Tensor, layers: list[Tensor], image: Tensor, side: int, solve: str) -> None:
    """Resize, normalize, then the affinity and the solution of the systems, nothing else."""
    size = (side, side)
    grids = [
        F.adaptive_avg_pool2d(one, size) if one.shape[-1] > side else F.interpolate(one, size)
        for one in (*layers, image)
    ]
    seeds = F.interpolate(torch.cat([cam, cam], 1), size).flatten(2)
    unit, colors = F.normalize(torch.cat(grids[:-1], 1).flatten(2), dim=1), grids[-1].flatten(2)
    affinity = (unit.mT @ unit).pow_(3).mul_((colors.mT @ colors).exp_())
    if solve == "products":
        for _ in range(PRODUCTS):
            seeds = seeds @ affinity
    else:
        affinity.diagonal(0, 1, 2).add_(affinity.sum(1))  # makes it positive definite
        torch.cholesky_solve(seeds.mT, torch.linalg.cholesky(affinity))


def one_by_one(cam: Tensor, layers: list[Tensor], image: Tensor, side: int, solve: str) -> None:
    """Call the floor for one image at a time, whose matrices stay in the cache of a CPU."""
    for i in range(len(cam)):
        one = [layer[i : i + 1] for layer in layers]
        floor(cam[i : i + 1], one, image[i : i + 1], side, solve)


def bench_label_spreading(least_runs: int, device: str) -> list[dict[str, object]]:
    # Milliseconds per image, except for the ratio.
    print("label_spreading  B   K grid network            |  spreading  floor  ratio  floor")
    cases = CASES if least_runs else CASES[:1]
    return [_row(*case, least_runs, device) for case in cases]


def _row(
    batch: int, network: str, maps: int, side: int, least_runs: int, device: str
) -> dict[str, object]:
    cam, layers, image = inputs(batch, network, maps, device)
    bare = one_by_one if device == "cpu" else floor
    calls: dict[str, Callable[[], object]] = {
        "label_spreading": partial(label_spreading, cam, layers, image, size=(side, side)),
        "products": partial(bare, cam, layers, image, side=side, solve="products"),
        "cholesky": partial(bare, cam, layers, image, side=side, solve="cholesky"),
    }
    with torch.inference_mode():
        times = time_in_turn(calls, least_runs, device)
    ms = {name: 1e3 * statistics.median(values) / batch for name, values in times.items()}
    cheaper = min(("products", "cholesky"), key=ms.__getitem__)
    ratio = median_ratio(times["label_spreading"], times[cheaper])
    print(
        f"{batch:>18} {maps:>3} {side:>4} {network:<18} | {ms['label_spreading']:10.1f} "
        f"{ms[cheaper]:6.1f} {ratio:6.2f}  {cheaper}",
        flush=True,
    )
    return {
        "batch": batch,
        "maps": maps,
        "grid": side,
        "network": network,
        "milliseconds per image": ms,
        "floor": cheaper,
        "label_spreading / floor": ratio,
        "runs": len(times["label_spreading"]),
    }
