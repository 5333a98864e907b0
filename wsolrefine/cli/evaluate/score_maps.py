"""Where the score maps of ``evaluate`` come from: a folder of files, or a localizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wsolrefine import Localizer, minmax
from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.options import Labels
from wsolrefine.data import ScoreMaps
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

    def predict(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Prediction]:
        """Return the maps of a batch, given the true classes."""


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

    If the localizer has as many classes as the data set, they are matched by index.

    Args:
        localizer: a classifier with a method, or a recipe.
        num_classes: number of classes of the data set.
        labels: map of the true or of the predicted class; None: of the true class if the localizer
            has the classes of the data set.
        size: side of the maps in pixels.

    """

    def __init__(
        self, localizer: Localizer, num_classes: int, labels: Labels | None, size: int
    ) -> None:
        outputs = localizer.num_classes
        self.localizer, self.size = localizer, size
        self.same_classes = outputs == num_classes
        if labels is Labels.true and not self.same_classes:
            stop(
                f"--labels true: expected a classifier with the {num_classes} classes of the data "
                f"set, got one with {outputs}"
            )
        self.true_class = self.same_classes and labels is not Labels.predicted

    def load(self, split: Split, index: int) -> Tensor:
        """Read and preprocess one image."""
        return self.localizer.prepare_image(split.reader.image(index))

    def predict(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Prediction]:
        """Localize in a batch.

        Raises:
            ValueError: the class scores are not finite.

        """
        images = self.localizer.prepare_batch(loaded)
        classes = torch.tensor(labels, device=images.device) if self.true_class else None
        found = self.localizer.class_maps(images, classes)
        logits, maps = found.logits.float().cpu(), found.maps[:, 0].float().cpu()
        if not logits.isfinite().all():
            raise ValueError("the class scores are not finite")
        top5 = logits.topk(min(5, logits.shape[1])).indices.tolist()
        return [
            Prediction(
                prepare_score_map(map, (self.size, self.size)),
                predicted if self.same_classes else None,
            )
            for map, predicted in zip(maps, top5, strict=True)
        ]

    def edges(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Tensor]:
        """Return the edges ``(H, W)`` of each image of a batch, for an edge recipe."""
        images = self.localizer.prepare_batch(loaded)
        return list(self.localizer.class_maps(images).maps[:, 0].float().cpu())
