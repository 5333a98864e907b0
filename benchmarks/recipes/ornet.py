"""ORNet's rows (Tables 3 and 4): stage one once, then stage two for each set of components."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.recipes.features import Images, batches
from benchmarks.recipes.splits import Split
from wsolrefine import Preprocess
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Ornet

BATCH = 16
# Chosen on validation, after stage one: in so few epochs, maps from 1/8 of the image are worse than
# the CAM, and a learning rate of 0.001 is worse than 0.003.
SETTINGS: dict[str, Any] = {
    **Ornet.PAPER,
    "reads": (-2,),  # 1/16 of the image
    "multiplies": -2,
    "train_backbone": False,  # frozen, as for the other recipes
    "learning_rate": 0.003,
    "refinement_factor": 1 / 30,  # 0.0001 in stage two, as in the paper
}
COMPONENTS: dict[str, dict[str, bool | float]] = {
    "ORNet, L_e": {"entropy_weight": 0.0, "area_weight": 0.0, "erasing": False},
    "ORNet, L_e + L_w": {"area_weight": 0.0, "erasing": False},
    "ORNet, L_e + L_a": {"entropy_weight": 0.0, "erasing": False},
    "ORNet, L_e + AE": {"entropy_weight": 0.0, "area_weight": 0.0},
    "ORNet, L_e + L_w + L_a": {"erasing": False},
    "ORNet, L_e + L_w + AE": {"area_weight": 0.0},
    "ORNet, L_e + L_a + AE": {"entropy_weight": 0.0},
    "ORNet, all, plain entropy": {"weighted": False},
    "ORNet, all": {},
}

Train = Callable[[Ornet, int, Images], float]


class Evaluator(nn.Module):
    """A pretrained network with a linear layer on the mean of its last map."""

    def __init__(self, backbone: FeatureList, channels: int, num_classes: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images)[-1].mean((2, 3)))
        return logits


def trained_evaluator(
    backbone: FeatureList, channels: list[int], num_classes: int, data: Images
) -> Evaluator:
    """Fit the linear layer to the training scenes; the network stays frozen."""
    evaluator = Evaluator(deepcopy(backbone), channels[-1], num_classes).eval()
    with torch.inference_mode():
        pooled = torch.cat(
            [
                evaluator.backbone(data.__getitems__(some)[0])[-1].mean((2, 3))
                for some in batches(len(data))
            ]
        )
    pooled = pooled.clone()
    optimizer = torch.optim.Adam(evaluator.head.parameters(), lr=1e-2, weight_decay=1e-4)
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(evaluator.head(pooled), data.labels))
        optimizer.step()
    return evaluator.requires_grad_(False)


def rows(
    backbone: FeatureList,
    channels: list[int],
    num_classes: int,
    split: Split,
    preprocess: Preprocess,
    epochs: int,
    train: Train,
) -> Iterator[tuple[str, Ornet, float]]:
    """Yield the name of each row, its recipe and the seconds of its training.

    Stage two uses scenes that the evaluator was not fitted to. It was fitted to hundreds of images,
    not to a million as in the paper, so that it knows their backgrounds too: on them, its loss is
    lowest for the whole image.
    """
    count = len(split.labels)
    fitted, judged = [*range(0, count, 2)], [*range(1, count, 2)]
    evaluator = trained_evaluator(
        backbone, channels, num_classes, Images(split.some(fitted), preprocess)
    )

    def make(first: int, second: int, **settings: Any) -> Ornet:
        return Ornet(
            deepcopy(backbone),
            channels,
            num_classes,
            evaluator=evaluator,
            **{**SETTINGS, "generator_epochs": first, "refinement_epochs": second, **settings},
        )

    refining = epochs // 4  # the paper: 30 of 100 epochs on CUB, 3 of 8 on ImageNet
    stage_one = make(epochs - refining, 0)
    seconds = train(stage_one, epochs - refining, Images(split, preprocess))
    yield "ORNet, stage one", stage_one, seconds
    shown = Images(split.some(judged), preprocess)
    for name, settings in COMPONENTS.items():
        recipe = make(0, refining, **settings)
        recipe.load_state_dict(stage_one.state_dict())
        yield name, recipe, seconds + train(recipe, refining, shown)
