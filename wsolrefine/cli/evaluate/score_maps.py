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


class Seen(NamedTuple):
    """The score map of an image, and the classifier's best classes where there is a classifier."""

    map: Tensor  # (H, W) float64 in [0, 1]
    classes: list[int] | None


class Source(Protocol):
    """Gives score maps: ``load`` reads one image in a thread, ``see`` makes the maps of a batch."""

    def load(self, split: Split, index: int) -> Tensor:
        """Read what is needed of one image, or raise."""

    def see(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Seen]:
        """Return the maps of a batch, given the true classes."""


class Sources(NamedTuple):
    """Where the maps of the evaluated split come from, and those of the one for thresholds."""

    evaluated: Source
    chosen_on: Source


class MapFolder:
    """Score maps in files, named after the images; taken as they are, or each min-maxed."""

    def __init__(self, folder: Path, normalize: bool) -> None:
        self.folder, self.normalize = folder, normalize
        self.files = ScoreMaps(folder)

    def load(self, split: Split, index: int) -> Tensor:
        """Read one map.

        Raises:
            ValueError: the map holds NaN, or values outside [0, 1] that are not to be min-maxed.

        """
        map = self.files.maps(split.image_id(index)).double()
        if not map.isfinite().all():
            raise ValueError("map: expected finite numbers, got NaN or infinity")
        if self.normalize:
            return minmax(map)
        low, high = map.min().item(), map.max().item()
        if low < 0 or high > 1:
            raise ValueError(
                f"map: expected values in [0, 1], got {low:.4g} to {high:.4g}"
                " (--normalize min-maxes each map)"
            )
        return map

    def see(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Seen]:
        """Return the maps as they were read."""
        return [Seen(map, None) for map in loaded]


class ModelMaps:
    """Score maps of a localizer: resized bicubic, then min-maxed.

    Classes of the localizer are those of the data set, by index, where there are as many.

    Args:
        localizer: a classifier with a method, or a recipe.
        classes: number of classes of the data set.
        labels: map of the true class or of the predicted one; None: of the true one where the
            localizer knows the classes of the data set.
        size: side of the maps in pixels.

    """

    def __init__(
        self, localizer: Localizer, classes: int, labels: Labels | None, size: int
    ) -> None:
        outputs = localizer.num_classes
        self.localizer, self.size = localizer, size
        self.same_classes = outputs == classes
        if labels is Labels.true and not self.same_classes:
            stop(
                f"--labels true: expected a classifier of the {classes} classes of the data set, "
                f"got one of {outputs}"
            )
        self.true_class = self.same_classes and labels is not Labels.predicted

    def load(self, split: Split, index: int) -> Tensor:
        """Read one image and bring it to the model's size."""
        return self.localizer.prepare_image(split.reader.image(index))

    def see(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Seen]:
        """Localize in a batch.

        Raises:
            ValueError: the class scores are not finite numbers.

        """
        images = torch.stack(list(loaded)).to(self.localizer.device)
        asked = torch.tensor(labels, device=images.device) if self.true_class else None
        found = self.localizer.class_maps(images, asked)
        logits, maps = found.logits.float().cpu(), found.maps[:, 0].float().cpu()
        if not logits.isfinite().all():
            raise ValueError("the class scores are not finite numbers")
        best = logits.topk(min(5, logits.shape[1])).indices.tolist()
        return [
            Seen(
                prepare_score_map(map, (self.size, self.size)),
                classes if self.same_classes else None,
            )
            for map, classes in zip(maps, best, strict=True)
        ]

    def edges(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Tensor]:
        """Run a recipe of edges on a batch and return them as they are, ``(H, W)`` each."""
        images = torch.stack(list(loaded)).to(self.localizer.device)
        return list(self.localizer.class_maps(images).maps[:, 0].float().cpu())
