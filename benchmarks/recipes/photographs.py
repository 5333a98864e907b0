"""Photographs for the recipes: random crops to train on, and whole ones to measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import show_progress
from benchmarks.quality.images import Photographs
from benchmarks.recipes.groups import group_of
from benchmarks.recipes.splits import SIDE, Split, Truth, stacked
from wsolrefine.data import RandomCrop

LARGEST = 352
"""Side that a photograph is resized to at most, before SIDE pixels of it are cropped."""


class GroupedPhotographs:
    """Photographs whose classes are groups of ImageNet's classes.

    The training images are random crops and flips of the training photographs, each made anew from
    the seed and its number; their boxes are not used. Validation is these photographs uncropped,
    whose boxes choose thresholds and nothing else.

    Args:
        train: data sets to train on.
        test: data sets to measure on.
        count: number of training images.
        groups: the group of each data set whose labels are not classes of ImageNet, by its name.
        seed: of the crops.

    """

    title = "photographs"

    def __init__(
        self,
        train: Sequence[Photographs],
        test: Sequence[Photographs],
        count: int,
        groups: Mapping[str, str],
        *,
        seed: int = 0,
    ) -> None:
        self.train, self.test, self.count, self.groups = train, test, count, groups
        self.seed = seed
        known = {some.name for some in (*train, *test)}
        if missing := sorted({*groups} - known):
            raise ValueError(
                f"group: expected names of data sets, {', '.join(sorted(known))}, "
                f"got {', '.join(missing)}"
            )
        self.class_names = sorted({self._group(some, at) for some, at in _each(train)})
        unseen = {self._group(some, at) for some, at in _each(test)} - {*self.class_names}
        if len(self.class_names) < 2 or unseen:
            raise ValueError(
                "photographs: expected at least two groups to train on, and those of the test, "
                f"got {', '.join(self.class_names)}; of the test only: {', '.join(sorted(unseen))}"
            )

    @property
    def key(self) -> Any:
        """The files and the numbers that determine the images."""
        every = [file for some in (*self.train, *self.test) for file in some.files()]
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in every]
        return digests, dict(self.groups), self.count, self.seed

    def split(self, name: str) -> Split:
        """Return the images of a split."""
        return self._crops() if name == "train" else self._whole(name)

    def _whole(self, name: str) -> Split:
        sets = self.test if name == "test" else self.train
        images, labels, boxes, sizes = [], [], [], []
        total = sum(map(len, sets))
        for done, (some, at) in enumerate(_each(sets), 1):
            sample = some[at]
            images.append(_pixels(sample.image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
            labels.append(self._label(some, at))
            boxes.append(sample.boxes)
            sizes.append(sample.size)
            show_progress(f"{name}, photographs", done, total)
        return stacked(images, labels, Truth(boxes, sizes, None))

    def _crops(self) -> Split:
        images = torch.empty(self.count, 3, SIDE, SIDE, dtype=torch.uint8)
        labels = torch.empty(self.count, dtype=torch.int64)
        every = [*_each(self.train)]
        for number, (some, at) in enumerate(every):
            photograph, label = some[at].image, self._label(some, at)
            # Each photograph is read once, and used as often as the others.
            for index in range(number, self.count, len(every)):
                images[index] = _pixels(self._crop(photograph, index))
                labels[index] = label
            show_progress("train, photographs", number + 1, len(every))
        return Split(images, labels, None)

    def _crop(self, photograph: Image.Image, index: int) -> Image.Image:
        seed = int(np.random.default_rng([self.seed, index]).integers(2**62))
        chance = torch.Generator().manual_seed(seed)
        size = int(torch.randint(SIDE, LARGEST + 1, (), generator=chance))
        return RandomCrop(size, SIDE)(photograph, chance)

    def _label(self, some: Photographs, at: int) -> int:
        return self.class_names.index(self._group(some, at))

    def _group(self, some: Photographs, at: int) -> str:
        if some.name in self.groups:
            return self.groups[some.name]
        return group_of(some.reader.annotations[some.kept[at]].label)


def _each(sets: Sequence[Photographs]) -> Iterator[tuple[Photographs, int]]:
    return ((some, at) for some in sets for at in range(len(some)))


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
