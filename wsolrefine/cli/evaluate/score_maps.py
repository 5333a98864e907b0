"""Where the score maps of ``evaluate`` come from: a folder of files, or a localizer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wsolrefine import Localizer, minmax
from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.classes import differing
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.options import Labels
from wsolrefine.data import ScoreMaps
from wsolrefine.data.images import AS_STORED, image_size, reading
from wsolrefine.localization.finite import not_finite
from wsolrefine.metrics import prepare_score_map
from wsolrefine.metrics._inputs import unit_interval


class Prediction(NamedTuple):
    """The score map of an image, and the top five classes if there is a classifier."""

    map: Tensor  # (H, W) float64 in [0, 1]
    classes: list[int] | None


class Source(Protocol):
    """Source of score maps: ``load`` reads one image, ``predict`` returns the maps of a batch."""

    def load(self, split: Split, index: int) -> Tensor:
        """Read one image or map; called in a thread."""

    def predict(
        self, labels: Sequence[int], loaded: Sequence[Tensor]
    ) -> Sequence[Prediction | ValueError]:
        """Return the maps of a batch, given the true classes; an error where there is none."""


class Sources(NamedTuple):
    """The source of the evaluated split, and that of the split on which thresholds are chosen."""

    split: Source
    threshold_split: Source


class MapFolder:
    """Score maps in files named like the images; used unchanged, or each min-max normalized."""

    def __init__(self, folder: Path, normalize: bool) -> None:
        self.folder, self.normalize = folder, normalize
        self.files = ScoreMaps(folder)

    def load(self, split: Split, index: int) -> Tensor:
        """Read one map.

        Raises:
            ValueError: the map contains NaN, or without ``normalize`` values outside [0, 1] by more
                than rounding.

        """
        with contextlib.suppress(OSError, ValueError):  # images are not needed for maps of files
            split.agreement.see_image(index, image_size(split.reader.image_path(index), AS_STORED))
        map = self.files.maps(split.image_id(index)).double()
        if not map.isfinite().all():
            raise ValueError("map: expected finite numbers, got NaN or infinity")
        if self.normalize:
            return minmax(map)
        # The reader returns float64, but the file may hold fewer digits.
        half = torch.equal(map.half().double(), map)
        try:
            return unit_interval("map", map, torch.float16 if half else torch.float32)
        except ValueError as error:
            hint = "--normalize applies min-max normalization to every map"
            raise ValueError(f"{error} ({hint})") from None

    def predict(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Prediction]:
        """Return the maps of the files."""
        return [Prediction(map, None) for map in loaded]


class ModelMaps:
    """Score maps of a localizer: resized (bicubic), then min-max normalized.

    Classes of data set and localizer are matched by index, if they are the same: as many by name,
    or, where lists only give labels, not fewer than the largest label says. Lists of few images
    leave out classes, so without ``labels`` more than half of them must be there. Where both have
    names that differ, only ``labels`` may say that the classes are the same.

    Args:
        localizer: a classifier with a method, or a recipe.
        split: the split to evaluate.
        labels: map of the true or of the predicted class; None: of the true class if the localizer
            has the classes of the data set.
        size: side of the maps in pixels.

    """

    def __init__(
        self, localizer: Localizer, split: Split, labels: Labels | None, size: int
    ) -> None:
        outputs, number = localizer.num_classes or 0, split.num_classes
        self.localizer, self.size = localizer, size
        assumed = labels is Labels.true or (labels is None and 2 * number > outputs)
        self.same_classes = number == outputs or (assumed and split.may_have(outputs))
        self.difference: str | None = None  # of classes, which edges do not need
        if localizer.regions:
            self.difference = differing(localizer.class_names, split.reader.class_names)
        if self.difference and labels is None:
            stop(
                f"--labels: expected a classifier with the classes of the data set, got others "
                f"({self.difference}); give --labels predicted, or --labels true if the classes "
                "are the same by index all the same"
            )
        self.same_classes &= not self.difference or labels is Labels.true
        if labels is Labels.true and not self.same_classes:
            stop(
                f"--labels true: expected a classifier with the {number} classes of the data "
                f"set, got one with {outputs}"
            )
        self.true_class = self.same_classes and labels is not Labels.predicted

    def load(self, split: Split, index: int) -> Tensor:
        """Read and preprocess one image."""
        with reading(split.reader.image_path(index), split.reader.policy) as image:
            split.agreement.see_image(index, (image.height, image.width))
            return self.localizer.prepare_image(image)

    def predict(
        self, labels: Sequence[int], loaded: Sequence[Tensor]
    ) -> list[Prediction | ValueError]:
        """Localize in a batch; an error where scores or map are not finite."""
        images = self.localizer.prepare_batch(loaded)
        classes = torch.tensor(labels, device=images.device) if self.true_class else None
        found = self.localizer.class_maps(images, classes)
        logits, maps = found.logits.float().cpu(), found.maps[:, 0].float().cpu()
        wrong = not_finite(self.localizer, images, found)
        top5 = logits.topk(min(5, logits.shape[1])).indices.tolist()
        return [
            Prediction(
                prepare_score_map(map, (self.size, self.size)),
                predicted if self.same_classes else None,
            )
            if reason is None
            else ValueError(reason)
            for map, predicted, reason in zip(maps, top5, wrong, strict=True)
        ]

    def edges(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Tensor | ValueError]:
        """Return the edges ``(H, W)`` of each image of a batch, for an edge recipe.

        There is an error where they are not finite.
        """
        images = self.localizer.prepare_batch(loaded)
        found = self.localizer.class_maps(images)
        wrong = not_finite(self.localizer, images, found)
        return [
            map if reason is None else ValueError(reason)
            for map, reason in zip(found.maps[:, 0].float().cpu(), wrong, strict=True)
        ]
