"""Scenes for the recipes: images, classes, ground truth, and features computed once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from benchmarks.scenes import Scenes, Sources, load_sources, split_of
from wsolrefine import Preprocess, find_stages, load_classifier
from wsolrefine.nn import FeatureList, stage_channels

SIDE = 224
FINEST = 28  # side of the largest map in training: twice the side would take four times as long
LEAST_STAMPS = {"train": 5, "validation": 3, "test": 3}  # of a class


class Split(NamedTuple):
    """All scenes of a split: inputs of a recipe, and the ground truth that it never sees."""

    images: Tensor  # (N, 3, SIDE, SIDE) uint8
    labels: Tensor  # (N,) int64
    masks: Tensor  # (N, SIDE, SIDE) integers
    boxes: list[Tensor]  # N of (1, 4), in pixels of the scene
    sizes: list[tuple[int, int]]  # of the scenes

    def some(self, indices: list[int]) -> Split:
        """Return these scenes only."""
        boxes, sizes = [self.boxes[i] for i in indices], [self.sizes[i] for i in indices]
        return Split(self.images[indices], self.labels[indices], self.masks[indices], boxes, sizes)


def classes_of(sources: Sources) -> list[str]:
    """Return the folders that have enough cut-outs in every split."""
    counts = {
        split: Counter(_folder(path, sources) for path in split_of(sources.stamps, split))
        for split in LEAST_STAMPS
    }
    return sorted(
        name
        for name in counts["train"]
        if all(counts[split][name] >= least for split, least in LEAST_STAMPS.items())
    )


def load(
    counts: dict[str, int], seed: int, folder: Path | None
) -> tuple[list[str], dict[str, Split]]:
    """Compose the scenes of every split, of the classes that have enough cut-outs."""
    sources = load_sources(folder)
    names = classes_of(sources)
    kept = [path for path in sources.stamps if _folder(path, sources) in names]
    sources = sources._replace(stamps=kept)
    return names, {
        split: _compose(Scenes(sources, split, count, seed=seed), names, split)
        for split, count in counts.items()
    }


def _folder(path: Path, sources: Sources) -> str:
    return path.relative_to(sources.root).parts[0]


def _compose(scenes: Scenes, names: list[str], split: str) -> Split:
    images, labels, masks, boxes, sizes = [], [], [], [], []
    for index in range(len(scenes)):
        scene = scenes[index]
        image, mask = scene.shrink(SIDE)
        images.append(image)
        masks.append(mask)
        labels.append(names.index(scene.class_name))
        boxes.append(scene.box[None])
        sizes.append((scene.mask.shape[0], scene.mask.shape[1]))
        if index % 50 == 49 or index + 1 == len(scenes):
            print(
                f"\r{split}: {index + 1}/{len(scenes)} scenes", end="", file=sys.stderr, flush=True
            )
    print(file=sys.stderr)
    return Split(torch.stack(images), torch.tensor(labels), torch.stack(masks), boxes, sizes)


def normalized(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Return images as the classifier expects them."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocess.mean, preprocess.std))
    return (images.float() / 255 - mean) / std


def pretrained() -> tuple[FeatureList, list[int], Preprocess]:
    """Return EfficientNet-Lite0 as a backbone, the channels of its stages, and preprocessing."""
    classifier = load_classifier()
    images = torch.zeros(1, 3, SIDE, SIDE)
    backbone = FeatureList(classifier.model, find_stages(classifier.model, images))
    assert isinstance(classifier.preprocess, Preprocess)
    return backbone, stage_channels(backbone, images), classifier.preprocess


class Features(Dataset[tuple[list[Tensor], Tensor]]):
    """Maps of a frozen backbone, computed once, in half precision to fit in memory; and labels."""

    def __init__(self, stages: Sequence[Tensor], labels: Tensor) -> None:
        self.stages, self.labels = list(stages), labels

    @classmethod
    def of(cls, backbone: nn.Module, split: Split, preprocess: Preprocess) -> Self:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(split.labels), 32):
                images = normalized(split.images[start : start + 32], preprocess)
                parts.append([stage.half() for stage in backbone.eval()(images)])
        return cls([torch.cat(some) for some in zip(*parts, strict=True)], split.labels)

    def only(self, stages: slice) -> Self:
        """Return the same scenes with some of the maps, none of them finer than ``FINEST``."""
        return type(self)([_coarse(stage) for stage in self.stages[stages]], self.labels)

    def some(self, indices: list[int]) -> Self:
        """Return all maps of these scenes."""
        return type(self)([stage[indices] for stage in self.stages], self.labels[indices])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[list[Tensor], Tensor]:
        return [stage[indices].float() for stage in self.stages], self.labels[indices]


def _coarse(stage: Tensor) -> Tensor:
    step = stage.shape[-1] // FINEST
    return avg_pool2d(stage.float(), step).half() if step > 1 else stage


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Normalized images and labels, for recipes that need the whole network."""

    def __init__(self, split: Split, preprocess: Preprocess) -> None:
        self.images, self.labels = normalized(split.images, preprocess), split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.images[indices], self.labels[indices]
