"""Features of the frozen network, computed once; and images for recipes that need all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from benchmarks.common import show_progress
from benchmarks.recipes.splits import SIDE, Split
from wsolrefine import Preprocess, find_stages, load_classifier
from wsolrefine.nn import FeatureList, stage_channels

FINEST = 28
"""Side of the largest map in training: twice the side would take four times as long."""
TOGETHER = 32
"""Images in a batch where nothing is trained."""


def batches(count: int) -> list[list[int]]:
    """Return the indices of so many images in batches."""
    starts = range(0, count, TOGETHER)
    return [[*range(start, min(start + TOGETHER, count))] for start in starts]


def pretrained() -> tuple[FeatureList, list[int], Preprocess]:
    """Return EfficientNet-Lite0 as a backbone, the channels of its stages, and preprocessing."""
    classifier = load_classifier()
    images = torch.zeros(1, 3, SIDE, SIDE)
    backbone = FeatureList(classifier.model, find_stages(classifier.model, images))
    assert isinstance(classifier.preprocess, Preprocess)
    return backbone, stage_channels(backbone, images), classifier.preprocess


def normalized(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Return images as the classifier expects them."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocess.mean, preprocess.std))
    return (images.float() / 255 - mean) / std


class Examples(Protocol):
    """Inputs of a recipe and their classes, in batches."""

    @property
    def labels(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def __getitems__(self, indices: list[int]) -> tuple[Any, Tensor]: ...


class Features(Dataset[tuple[list[Tensor], Tensor]]):
    """Maps of a frozen backbone, in half precision; and labels."""

    def __init__(self, stages: Sequence[Tensor], labels: Tensor) -> None:
        self.stages, self.labels = list(stages), labels

    @classmethod
    def of(
        cls, backbone: nn.Module, split: Split, preprocess: Preprocess, *, finest: int = FINEST
    ) -> Self:
        """Compute the maps, none of them finer than ``finest``."""
        parts, count = [], len(split.labels)
        with torch.inference_mode():
            for indices in batches(count):
                images = normalized(split.images[indices], preprocess)
                parts.append([_coarse(stage, finest) for stage in backbone.eval()(images)])
                show_progress("features", indices[-1] + 1, count)
        return cls([torch.cat(some) for some in zip(*parts, strict=True)], split.labels)

    def only(self, stages: slice) -> Self:
        """Return some of the maps of all images."""
        return type(self)(self.stages[stages], self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[list[Tensor], Tensor]:
        return [stage[indices].float() for stage in self.stages], self.labels[indices]


def _coarse(stage: Tensor, finest: int) -> Tensor:
    step = stage.shape[-1] // finest
    return (avg_pool2d(stage, step) if step > 1 else stage).half()


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Normalized images and labels, for recipes that need the whole network."""

    def __init__(self, split: Split, preprocess: Preprocess) -> None:
        self.images, self.labels = split.images, split.labels
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return normalized(self.images[indices], self.preprocess), self.labels[indices]
