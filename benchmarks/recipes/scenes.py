"""Scenes for the recipes: the pool to train on, and those to measure on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import show_progress
from benchmarks.recipes.splits import SIDE, SPLITS, Split, Truth, stacked
from benchmarks.scenes import Scenes, Sources, load_sources, split_of

LEAST_STAMPS = 2
"""Cut-outs of a class in each split: fewer would show a class with a single object."""


def classes_of(sources: Sources) -> list[str]:
    """Return the folders that have enough cut-outs in every split."""
    counts = [
        Counter(_folder(path, sources) for path in split_of(sources.stamps, split))
        for split in SPLITS
    ]
    return sorted(
        name for name in counts[0] if all(count[name] >= LEAST_STAMPS for count in counts)
    )


class ComposedScenes:
    """Scenes of every split, which share neither a cut-out nor a background.

    Each scene is composed anew from the seed and its number, so that no two of the training pool
    are alike.
    """

    title = "scenes"

    def __init__(self, counts: dict[str, int], folder: Path | None, *, seed: int = 0) -> None:
        sources = load_sources(folder)
        self.class_names = classes_of(sources)
        kept = [path for path in sources.stamps if _folder(path, sources) in self.class_names]
        self.sources, self.counts, self.seed = sources._replace(stamps=kept), counts, seed

    @property
    def key(self) -> Any:
        """The files and the numbers that determine the scenes."""
        files = [path.name for path in (*self.sources.stamps, *self.sources.backgrounds)]
        return files, self.counts, self.seed

    def split(self, name: str) -> Split:
        """Compose the scenes of a split."""
        scenes = Scenes(self.sources, name, self.counts[name], seed=self.seed)
        images, labels, masks, boxes, sizes = [], [], [], [], []
        for index in range(len(scenes)):
            scene = scenes[index]
            image, mask = scene.shrink(SIDE)
            images.append(image)
            labels.append(self.class_names.index(scene.class_name))
            masks.append(mask)
            boxes.append(scene.box[None])
            sizes.append((scene.mask.shape[0], scene.mask.shape[1]))
            show_progress(f"{name}, scenes", index + 1, len(scenes))
        truth = None if name == "train" else Truth(boxes, sizes, torch.stack(masks))
        return stacked(images, labels, truth)


def _folder(path: Path, sources: Sources) -> str:
    return path.relative_to(sources.root).parts[0]
