"""CoAug's loss for maps that are known to be right or wrong, with two ways to embed a part.

    python -m benchmarks.recipes.coaug --cache features

A loss that is to improve maps has to be lower for the object's own mask than for the CAM. On the
test scenes; nothing is trained but a linear layer, for the CAM.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, max_pool2d

from benchmarks.common import table
from benchmarks.recipes.cache import prepare
from benchmarks.recipes.features import pretrained
from benchmarks.recipes.ornet import fitted_head
from benchmarks.recipes.scenes import ComposedScenes
from wsolrefine import confseg, gap_cam
from wsolrefine.losses import coaug_loss

BATCH = 16
STAGE = -2  # its features are embedded


def centered_sum(weight: Tensor, features: Tensor) -> Tensor:
    """Return the sum of features minus their mean over the image; it grows with the part."""
    return (weight * (features - features.mean((2, 3), keepdim=True))).mean((2, 3))


def weighted_mean(weight: Tensor, features: Tensor) -> Tensor:
    """Return the mean of the features of a part, as in ``Csoa``."""
    return (weight * features).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1.0)


EMBEDDINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum of centered features": centered_sum,
    "weighted mean": weighted_mean,
}


def maps_of(cam: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return maps ``(B, 1, h, w)`` to compare, from the CAM and the object's mask."""
    return {
        "CAM": cam,
        "mask": mask,
        "mask, one cell wider": max_pool2d(mask, 3, 1, 1),
        "mask, one cell narrower": -max_pool2d(-mask, 3, 1, 1),
        "mask, moved by a third": mask.roll(mask.shape[-1] // 3, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="CoAug's loss for right and wrong maps.")
    parser.add_argument("--train", type=int, default=4096, help="scenes that the CAM learns from")
    parser.add_argument("--scenes", type=int, default=400, help="number of test scenes")
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--cache", type=Path, help="folder that keeps images and features")
    options = parser.parse_args()
    counts = {"train": options.train, "validation": options.scenes, "test": options.scenes}
    source = ComposedScenes(counts, options.folder)
    backbone, _, preprocess = pretrained()
    splits = prepare(source, backbone, preprocess, options.cache)
    torch.manual_seed(0)
    head = fitted_head(splits["train"].features, len(source.class_names))
    split, features = splits["test"]
    masks = split.known().masks
    assert masks is not None
    sums: dict[str, list[float]] = {}
    for start in range(0, len(features), BATCH):
        indices = [*range(start, min(start + BATCH, len(features)))]
        stages, labels = features.__getitems__(indices)
        size = (stages[STAGE].shape[-2], stages[STAGE].shape[-1])
        cam = gap_cam(stages[-1], head.weight.detach(), labels)[:, None]
        confident = interpolate(confseg(cam[:, 0]).confident[:, None].float(), size)
        cam = interpolate(cam, size, mode="bilinear")
        mask = adaptive_avg_pool2d(masks[indices, None].float(), size)
        for name, weight in maps_of(cam, mask).items():
            parts = weight, 1 - weight, (1 - weight) * confident
            losses = []
            for embed in EMBEDDINGS.values():
                inside, outside, confident_outside = (embed(p, stages[STAGE]) for p in parts)
                losses.append(coaug_loss(inside, outside, confident_outside, labels).item())
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0, 0.0]), losses, strict=True)]
    batches = -(-len(features) // BATCH)
    lines = [[name, *(f"{some / batches:.2f}" for some in found)] for name, found in sums.items()]
    print(table(["map", *EMBEDDINGS], lines))


if __name__ == "__main__":
    main()
