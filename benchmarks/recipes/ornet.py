"""ORNet's rows: what stage one needs, and stage two with its components (Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from benchmarks.recipes.features import Features, Images, batches
from wsolrefine import load_classifier
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Ornet

FIRST = -3
"""The backbone's map that stands for the images: what the generator's map multiplies."""
BATCH = 8
SLICES, REFINING = 5, 3  # steps of the learning rate in stage one and two
FITTING = 200  # steps of the head on all images
REPEATED = 4  # how often the row that repeats its images sees each of them
STAGE_ONE: dict[str, dict[str, Any]] = {
    "stage one": {},
    "stage one, without the auxiliary loss": {"inner_channels": 16, "auxiliary_weight": 0.0},
    "stage one, its head trained along": {"head": None, "head_epochs": 0},
    "stage one, reads one stage": {"reads": (FIRST,)},
    "stage one, multiplies the next stage": {"multiplies": FIRST + 1},
}
COMPONENTS: dict[str, dict[str, Any]] = {
    "L_e": {"entropy_weight": 0.0, "area_weight": 0.0, "erasing": False},
    "L_e + L_w": {"area_weight": 0.0, "erasing": False},
    "L_e + L_a": {"entropy_weight": 0.0, "erasing": False},
    "L_e + AE": {"entropy_weight": 0.0, "area_weight": 0.0},
    "all, plain entropy": {"weighted": False},
    "all": {},
    "all, without the auxiliary loss": {"refinement_auxiliary_weight": 0.0},
    "all, the paper's entropy weight": {"entropy_weight": Ornet.PAPER["entropy_weight"]},
}

Train = Callable[[Ornet, int, Dataset[Any]], float]


class Rest(nn.Module):
    """EfficientNet-Lite0 from one of its stages on, so that the costly part of it runs once."""

    def __init__(self) -> None:
        super().__init__()
        model: Any = load_classifier().model
        self.entry = nn.Identity()
        self.middle, self.late = (
            nn.Sequential(*model._blocks[start:stop]) for start, stop in ((5, 11), (11, None))
        )
        self.last = nn.Sequential(model._conv_head, model._bn1, model._swish)

    def forward(self, stage: Tensor) -> Tensor:
        last: Tensor = self.last(self.late(self.middle(self.entry(stage))))
        return last


def rest() -> FeatureList:
    """Return the backbone: the stage itself, and the two that follow it."""
    return FeatureList(Rest().eval(), ["entry", "middle", "last"])


class Stage(Dataset[tuple[Tensor, Tensor]]):
    """One stage of the frozen backbone in place of the images, and labels."""

    def __init__(self, features: Features) -> None:
        self.maps, self.labels = features.stages[FIRST], features.labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.maps[indices].float(), self.labels[indices]


class Some(Dataset[tuple[Tensor, Tensor]]):
    """Examples at these indices, which may contain one several times."""

    def __init__(self, data: Stage | Images, indices: list[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.data.__getitems__([self.indices[index] for index in indices])


def fitted_head(features: Features, num_classes: int) -> nn.Linear:
    """Fit a linear layer to the mean of the last map of all images."""
    last = features.stages[-1]
    pooled = torch.cat([last[some].float().mean((2, 3)) for some in batches(len(features))])
    head = nn.Linear(pooled.shape[1], num_classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2, weight_decay=1e-4)
    for _ in range(FITTING):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(head(pooled), features.labels))
        optimizer.step()
    return head


def with_cam(name: str, recipe: Ornet, seconds: float) -> Iterator[tuple[str, Ornet, float]]:
    """Yield the row of a recipe again, its map the mean of the activation map and the CAM."""
    other = deepcopy(recipe)
    other.settings["with_cam"] = True
    yield f"{name}, and the CAM", other, seconds


def rows(
    features: Features,
    channels: list[int],
    num_classes: int,
    images: Images,
    whole: FeatureList,
    counts: tuple[int, int],
    train: Train,
) -> Iterator[tuple[str, Ornet, float]]:
    """Yield the name of each row, its recipe and the seconds of its training.

    Args:
        features: of the pool.
        channels: of the last three stages.
        num_classes: number of classes.
        images: the pool itself, for the row that judges pixels.
        whole: the backbone, images to its last three stages.
        counts: number of images of stage one and of stage two, which are others.
        train: trains a recipe for so many epochs and returns the seconds.

    """
    stage, head = Stage(features), fitted_head(features, num_classes)
    first, second = [*range(counts[0])], [*range(counts[0], sum(counts))]

    def make(epochs: tuple[int, int], backbone: FeatureList, **settings: Any) -> Ornet:
        lengths = {"generator_epochs": epochs[0], "refinement_epochs": epochs[1]}
        common = {"head": head, "with_cam": False, **lengths}
        return Ornet(backbone, channels, num_classes, **{**common, **settings})

    for name, settings in STAGE_ONE.items():
        recipe = make((SLICES, 0), rest(), **settings)
        seconds = train(recipe, SLICES, Some(stage, first))
        if not settings:
            done, passed = recipe, seconds
        yield name, recipe, seconds
    yield from with_cam("stage one", done, passed)
    few = first[: len(first) // REPEATED]
    recipe = make((SLICES, 0), rest())
    seconds = train(recipe, SLICES, Some(stage, few * REPEATED))
    yield f"stage one, {len(few)} images {REPEATED} times", recipe, seconds

    def refined(data: Stage | Images, recipe: Ornet) -> float:
        recipe.generator.load_state_dict(done.generator.state_dict())
        return passed + train(recipe, recipe.epochs, Some(data, second))

    recipe = make((REFINING, 0), rest(), learning_rate=done.settings.learning_rate / 3)
    yield "stage one, continued on the images of stage two", recipe, refined(stage, recipe)
    for name, settings in COMPONENTS.items():
        recipe = make((0, REFINING), rest(), **settings)
        seconds = refined(stage, recipe)
        yield name, recipe, seconds
        if not settings:
            yield from with_cam(name, recipe, seconds)
    recipe = make((0, REFINING), whole, evaluate_at="pixels")
    seconds = refined(images, recipe)
    seen = make((0, REFINING), rest())
    seen.generator.load_state_dict(recipe.generator.state_dict())
    yield "all, at the pixels", seen, seconds
