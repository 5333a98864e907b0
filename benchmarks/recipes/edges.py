"""SEM's edges (Table 7): the vanilla loss, hard negative suppression, and the CAM as source.

The edge head gets the map of the true class, in training and in evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.recipes.features import Features, batches, normalized
from benchmarks.recipes.splits import Split
from wsolrefine import Preprocess, outline
from wsolrefine.metrics import BoundaryScore
from wsolrefine.recipes import SemEdges

ROWS: dict[str, dict[str, bool]] = {
    "CAM, hard negative suppression": {"refine": False},
    "SEM, vanilla": {"suppression": False},
    "SEM, hard negative suppression": {},
}
# Two cores are too slow for the paper's 128 channels on a grid of 160. With so few steps, the lower
# layers get the same rate as those on top.
SETTINGS: dict[str, Any] = {
    "width": 32,
    "edge_size": (112, 112),
    "backbone_learning_rate": 0.001,
}
BATCH = 8
Train = Callable[[LightningModule, int, Dataset[Any]], float]


class Edges(LightningModule):
    """The second phase of the recipe, on features, maps and boundaries computed once."""

    def __init__(self, recipe: SemEdges) -> None:
        super().__init__()
        self.recipe = recipe

    def training_step(self, batch: Sequence[Any], batch_index: int) -> Tensor:
        return self.recipe.edge_loss(*batch)

    def configure_optimizers(self) -> Any:
        return self.recipe.configure_optimizers()


class WithBoundaries(Dataset[Any]):
    """Features of scenes, the recipe's maps, and its pseudo boundaries from them."""

    def __init__(
        self, recipe: SemEdges, features: Features, split: Split, preprocess: Preprocess
    ) -> None:
        self.features = features
        maps, boundaries = [], []
        for indices in batches(len(features)):
            stages, labels = features.__getitems__(indices)
            maps.append(recipe.maps(stages, labels))
            images = normalized(split.images[indices], preprocess)
            boundaries.append(recipe.pseudo_boundaries(images, maps[-1]))
        self.maps, self.boundaries = torch.cat(maps), torch.cat(boundaries)

    def __len__(self) -> int:
        return len(self.boundaries)

    def __getitems__(self, indices: list[int]) -> tuple[list[Tensor], Tensor, Tensor]:
        stages, _ = self.features.__getitems__(indices)
        return stages, self.maps[indices], self.boundaries[indices]


@torch.no_grad()
def scores(recipe: SemEdges, features: Features, split: Split) -> tuple[dict[str, float], Tensor]:
    """Return ODS, OIS and AP against the outlines of the true masks, and the edges."""
    masks = split.known().masks
    if masks is None:
        raise ValueError("split: expected one with masks, got boxes only")
    metric, found = BoundaryScore(), []
    for indices in batches(len(features)):
        stages, labels = features.__getitems__(indices)
        maps = recipe.maps(stages, labels)
        edges = recipe.eval().probability(stages, maps, (masks.shape[1], masks.shape[2]))
        found.append(edges)
        metric.update(edges, outline(masks[indices]))
    result = metric.details()
    values = {
        "ODS": result.ods.item(),
        "OIS": result.ois.item(),
        "AP": result.average_precision.item(),
    }
    return values, torch.cat(found)


def rows(
    channels: list[int],
    num_classes: int,
    classes: nn.Conv2d,
    features: Features,
    split: Split,
    preprocess: Preprocess,
    epochs: int,
    train: Train,
) -> Iterator[tuple[str, SemEdges, float]]:
    """Yield the name of each row, its recipe and the seconds of training its edge head.

    All rows use the same classifier and start with the same weights and order of scenes; rows with
    the same source of maps use the same maps and boundaries.
    """
    made: dict[bool, WithBoundaries] = {}
    state = torch.get_rng_state()
    for name, settings in ROWS.items():
        torch.set_rng_state(state)
        recipe = SemEdges(
            nn.Identity(),
            channels,
            num_classes,
            classifier_epochs=0,
            edge_epochs=epochs,
            **{**SETTINGS, **settings},
        )
        recipe.classes.load_state_dict(classes.state_dict())
        source = settings.get("refine", True)
        if source not in made:
            made[source] = WithBoundaries(recipe, features, split, preprocess)
        yield name, recipe, train(Edges(recipe), epochs, made[source])
