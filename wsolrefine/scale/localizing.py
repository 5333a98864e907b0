"""What workers do with the model: classes and maps of a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import torch

from wsolrefine.localization import Localizer
from wsolrefine.localization.class_maps import probabilities
from wsolrefine.localization.finite import not_finite
from wsolrefine.scale.images import Batch, Picture
from wsolrefine.scale.items import Item

NO_LABEL = "the source names no class"


class Chosen(NamedTuple):
    """Classes of an image, and the source's numbers of them; None: it has none."""

    labels: list[int]
    categories: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Classes:
    """Which classes are mapped.

    Attributes:
        chosen: the number K of the most probable ones, or indices; None: those of the source.
        index: the index of a label of the source; it raises ValueError for a class that the model
            has not.
        needed: whether the source must name a class; else the most probable one is mapped where it
            names none.

    """

    chosen: int | list[int] | None
    index: Callable[[str], int] = int
    needed: bool = True

    def of(self, item: Item) -> Chosen | None:
        """Return the classes of an image, each once; None: the most probable ones.

        Raises:
            ValueError: there is none, or the model has no such class.

        """
        if isinstance(self.chosen, list):
            return Chosen(self.chosen, None)
        if self.chosen is not None:
            return None
        if not item.labels:
            if self.needed:
                raise ValueError(NO_LABEL)
            return None
        # Two labels may be one class of the model: the first of its numbers is kept.
        found: dict[int, int | None] = {}
        for label, category in zip_longest(item.labels, item.categories or ()):
            found.setdefault(self.index(label), category)
        return Chosen([*found], None if item.categories is None else tuple(found.values()))


def localize_batch(localizer: Localizer, batch: Batch, classes: Classes) -> Batch:
    """Add classes, scores and maps to the images of a batch, and drop their pixels."""
    groups: dict[tuple[object, ...], list[Picture]] = {}
    for picture in batch.pictures:
        if picture.pixels is None:
            continue
        try:
            chosen = classes.of(picture.item)
        except ValueError as error:
            picture.error, picture.pixels = str(error), None
            continue
        picture.labels, picture.categories = chosen or (None, None)
        # Images of one size and with as many classes are one batch of tensors.
        key = tuple(picture.pixels.shape), None if picture.labels is None else len(picture.labels)
        groups.setdefault(key, []).append(picture)
    top = classes.chosen if isinstance(classes.chosen, int) else 1
    for group in groups.values():
        _localize(localizer, group, top)
    return batch


def _localize(localizer: Localizer, group: list[Picture], top: int) -> None:
    images = localizer.prepare_batch([p.pixels for p in group if p.pixels is not None])
    labels = None
    if group[0].labels is not None:
        labels = torch.tensor([picture.labels for picture in group], device=images.device)
    found = localizer.class_maps(images, labels, top if labels is None else 1)
    wrong = not_finite(localizer, images, found)
    scores = probabilities(found.logits.float()).gather(1, found.labels).cpu()
    maps = found.maps.float().cpu()
    for i, (picture, error) in enumerate(zip(group, wrong, strict=True)):
        picture.pixels, picture.error = None, error
        if error is None:
            picture.labels, picture.scores = found.labels[i].tolist(), scores[i].tolist()
            picture.maps = maps[i].clone()  # alone, so that pickling it does not take the batch
