"""The images that maps are measured on: composite scenes, or a data set of a reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from benchmarks.quality.measure import SIDE
from benchmarks.scenes import Scenes

if TYPE_CHECKING:
    from wsolrefine.data.reader import Reader


class Sample(NamedTuple):
    """An image and what is true of it."""

    image: Image.Image
    label: int | None  # that of the data set, in whatever numbering
    alone: Image.Image  # what the network is asked to name: the object without its surroundings
    boxes: Tensor  # (n, 4), any of which may be hit
    size: tuple[int, int]  # height and width that the boxes refer to
    mask: Tensor | None  # (SIDE, SIDE) integers
    group: str  # images of one group are not independent of each other

    def scaled_boxes(self) -> Tensor:
        """Return the boxes in pixels of a map of SIDE."""
        height, width = self.size
        return self.boxes * torch.tensor([SIDE / width, SIDE / height] * 2)


class Images(Protocol):
    """Images of one kind, with a name for tables."""

    @property
    def name(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


class Composites:
    """Composite scenes: those with the same cut-out are one group."""

    name = "scenes"

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self.scenes[index]
        image, alone = Image.fromarray(scene.image), Image.fromarray(scene.plain)
        size, mask = (image.height, image.width), scene.shrink(SIDE)[1]
        return Sample(image, None, alone, scene.box[None], size, mask, scene.stamp)


class Photographs:
    """The images of a reader that have boxes, each a group of its own."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name, self.reader = name, reader
        self.kept = [i for i, found in enumerate(reader.annotations) if len(found.boxes)]
        if not self.kept:
            raise ValueError(f"data: expected images with boxes, got none in {name}")

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        at = self.kept[index]
        image, found = self.reader[at]
        mask = self.reader.mask(at, (SIDE, SIDE)) if self.reader.has_mask(at) else None
        size = self.reader.size(at)
        return Sample(image, found.label, image, found.boxes, size, mask, found.image_id)

    def files(self) -> list[Path]:
        """Return the paths of the images."""
        return [self.reader.image_path(at) for at in self.kept]
