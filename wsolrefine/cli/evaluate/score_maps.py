"""Where the score maps of ``evaluate`` come from: a folder of files, or a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wsolrefine import minmax
from wsolrefine.activation.forward import class_activation
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.maps import REFINE, Method
from wsolrefine.cli.prepare import Prepared
from wsolrefine.cli.recipe import Ready, look
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


class Network:
    """Score maps of a classifier and a method: resized bicubic, then min-maxed.

    Args:
        ready: the classifier.
        method: how its maps are refined.
        size: side of the maps in pixels.
        same_classes: its classes are those of the data set, by index.
        true_class: the maps are those of the true class, else of the predicted one.

    """

    def __init__(
        self, ready: Prepared, method: Method, size: int, *, same_classes: bool, true_class: bool
    ) -> None:
        self.ready, self.method, self.size = ready, method, size
        self.same_classes, self.true_class = same_classes, true_class
        self.outputs = ready.outputs
        self.name = f"{ready.classifier.name}, {method} on {', '.join(ready.layers.features)}"

    def load(self, split: Split, index: int) -> Tensor:
        """Read one image and bring it to the classifier's size."""
        image, _ = split.reader[index]
        return self.ready.classifier.preprocess(image)

    def see(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Seen]:
        """Run the classifier and the method on a batch.

        Raises:
            ValueError: the classifier's scores are not finite numbers.

        """
        place = self.ready.device
        wanted = torch.tensor(labels, device=place) if self.true_class else None
        found = class_activation(
            self.ready.classifier.model,
            torch.stack(list(loaded)).to(place),
            labels=wanted,
            layers=self.ready.layers,
        )
        with torch.no_grad():
            logits = found.logits.detach().float().cpu()
            features = [feature.detach() for feature in found.features]
            maps = REFINE[self.method](found.cam.detach(), features)[:, 0].float().cpu()
        return _seen(logits, maps, self.size, self.same_classes)


class OfRecipe:
    """Score maps of a trained recipe, resized and min-maxed as those of a classifier.

    Args:
        ready: the recipe.
        size: side of the maps in pixels.
        same_classes: its classes are those of the data set, by index.
        true_class: the maps are those of the true class, else of the predicted one.

    """

    def __init__(self, ready: Ready, size: int, *, same_classes: bool, true_class: bool) -> None:
        self.ready, self.size = ready, size
        self.same_classes, self.true_class = same_classes, true_class
        about = ready.trained.about
        self.outputs = about.num_classes
        self.name = f"recipe {about.recipe} on {about.backbone}, {', '.join(about.layers)}"

    def load(self, split: Split, index: int) -> Tensor:
        """Read one image and bring it to the recipe's size."""
        image, _ = split.reader[index]
        return self.ready.trained.preprocess(image)

    def see(self, labels: Sequence[int], loaded: Sequence[Tensor]) -> list[Seen]:
        """Run the recipe on a batch.

        Raises:
            ValueError: the class scores are not finite numbers.

        """
        wanted = torch.tensor(labels) if self.true_class else 1
        found = look(self.ready, torch.stack(list(loaded)), wanted)
        return _seen(found.logits, found.maps[:, 0], self.size, self.same_classes)

    def edges(self, loaded: Sequence[Tensor]) -> Tensor:
        """Run a recipe of edges on a batch and return them as they are, ``(B, H, W)``."""
        return look(self.ready, torch.stack(list(loaded)), 1).maps[:, 0]


def _seen(logits: Tensor, maps: Tensor, size: int, same_classes: bool) -> list[Seen]:
    if not logits.isfinite().all():
        raise ValueError("the classifier's scores are not finite numbers")
    best = logits.topk(min(5, logits.shape[1])).indices.tolist()
    return [
        Seen(prepare_score_map(map, (size, size)), classes if same_classes else None)
        for map, classes in zip(maps, best, strict=True)
    ]
