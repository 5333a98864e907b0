"""SEM's edges (Table 7): the vanilla loss, hard negative suppression, and the CAM as source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.recipe_scenes import Features, Split, normalized
from wsolrefine.cli.evaluation.edges import outline
from wsolrefine.metrics import BoundaryScore
from wsolrefine.models import Preprocess
from wsolrefine.recipes import SemEdges

ROWS: dict[str, dict[str, bool]] = {
    "CAM, hard negative suppression": {"refine": False},
    "SEM, vanilla": {"suppression": False},
    "SEM, hard negative suppression": {},
}
Train = Callable[[LightningModule, int, Dataset[Any]], float]
COLUMNS = ("ODS", "OIS", "AP")


class Edges(LightningModule):
    """The second phase of the recipe, on features and pseudo boundaries computed once."""

    def __init__(self, recipe: SemEdges) -> None:
        super().__init__()
        self.recipe = recipe

    def training_step(self, batch: Sequence[Any], batch_index: int) -> Tensor:
        features, boundary = batch
        return self.recipe.edge_loss(features, boundary)

    def configure_optimizers(self) -> Any:
        return self.recipe.configure_optimizers()


class WithBoundaries(Dataset[Any]):
    """Features of the training scenes with the boundaries that the recipe made up for them."""

    def __init__(self, features: Features, boundaries: Tensor) -> None:
        self.features, self.boundaries = features, boundaries

    def __len__(self) -> int:
        return len(self.boundaries)

    def __getitems__(self, indices: list[int]) -> tuple[list[Tensor], Tensor]:
        return self.features.__getitems__(indices)[0], self.boundaries[indices]


def boundaries(
    recipe: SemEdges, features: Features, split: Split, preprocess: Preprocess
) -> Tensor:
    """Return the recipe's pseudo boundaries of all scenes of a split."""
    found = []
    for start in range(0, len(features), 16):
        indices = [*range(start, min(start + 16, len(features)))]
        stages, labels = features.__getitems__(indices)
        images = normalized(split.images[indices], preprocess)
        found.append(recipe.pseudo_boundaries(images, stages, labels))
    return torch.cat(found)


@torch.no_grad()
def scores(recipe: SemEdges, features: Features, split: Split) -> tuple[dict[str, float], Tensor]:
    """Return ODS, OIS and AP against the outlines of the true masks, and the edges."""
    metric, found = BoundaryScore(), []
    for start in range(0, len(features), 16):
        indices = [*range(start, min(start + 16, len(features)))]
        stages, _ = features.__getitems__(indices)
        edges = recipe.eval().probability(stages, tuple(split.masks.shape[1:]))
        found.append(edges)
        metric.update(edges, torch.stack([outline(mask) for mask in split.masks[indices]]))
    result = metric.compute()
    figures = {
        "ODS": result.ods.item(),
        "OIS": result.ois.item(),
        "AP": result.average_precision.item(),
    }
    return figures, torch.cat(found)


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
    """Yield the name of each row, its recipe and the seconds that the edge head took.

    All rows take the same classifier and, where they share the source, the same boundaries.
    """
    made: dict[bool, Tensor] = {}
    for name, settings in ROWS.items():
        recipe = SemEdges(nn.Identity(), channels, num_classes, edge_epochs=epochs, **settings)
        recipe.classes.load_state_dict(classes.state_dict())
        source = settings.get("refine", True)
        if source not in made:
            made[source] = boundaries(recipe, features, split, preprocess)
        yield name, recipe, train(Edges(recipe), epochs, WithBoundaries(features, made[source]))
