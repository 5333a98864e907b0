"""The rows of the table: how each recipe is trained, and what is switched at inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wsolrefine import minmax
from wsolrefine.recipes import Csoa, Recipe, Spa, Spol

CAM = "CAM"


class Cam(Recipe):
    """The baseline of every row: a linear classifier on the last map, and its CAM."""

    name = "cam"

    def __init__(
        self, backbone: nn.Module, channels: Sequence[int], num_classes: int, *, epochs: int
    ) -> None:
        super().__init__(backbone, channels, num_classes)
        self.classes = nn.Conv2d(channels[-1], num_classes, 1)
        self.epochs, self.threshold = epochs, 0.5

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        return cross_entropy(self.classes(self.backbone(images)[-1]).mean((2, 3)), labels)

    def activate(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        maps = self.classes(self.backbone(images)[-1])

        def maps_of(labels: Tensor) -> Tensor:
            return minmax(maps[torch.arange(len(maps)), labels].relu())

        return maps.mean((2, 3)), maps_of

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)


LAST_FOUR, LAST_THREE, LAST_TWO, LAST = (slice(-count, None) for count in (4, 3, 2, 1))
COAUG_WEIGHT = 0.05  # chosen on validation: with 0.3 and more the maps collapse


class Training(NamedTuple):
    """One training and its rows, which differ in settings that matter at inference only."""

    make: Callable[[Sequence[int], int, int], Recipe]  # channels, classes, epochs
    rows: dict[str, dict[str, Any]]
    stages: slice = LAST_FOUR  # which of the backbone's maps the recipe gets
    after: str | None = None  # the row whose weights this training starts from


def _spa(**settings: Any) -> Callable[[Sequence[int], int, int], Spa]:
    def make(channels: Sequence[int], num_classes: int, epochs: int) -> Spa:
        return Spa(
            nn.Identity(),
            channels,
            num_classes,
            stage=-1,
            scg_stages=(-3, -2),
            width=128,
            epochs=epochs,
            warmup_epochs=epochs // 5,
            learning_rate=0.02,
            **settings,
        )

    return make


def _csoa(**settings: Any) -> Callable[[Sequence[int], int, int], Csoa]:
    def make(channels: Sequence[int], num_classes: int, epochs: int) -> Csoa:
        return Csoa(
            nn.Identity(),
            channels,
            num_classes,
            stage=-1,
            auxiliary_stage=-2,
            embedding_stage=-2,
            width=128,
            epochs=epochs,
            learning_rate=0.02,
            **{"coaug_weight": COAUG_WEIGHT, **settings},
        )

    return make


def _spol(**settings: Any) -> Callable[[Sequence[int], int, int], Spol]:
    def make(channels: Sequence[int], num_classes: int, epochs: int) -> Spol:
        return Spol(
            nn.Identity(),
            channels,
            num_classes,
            cam_epochs=epochs,
            segmentation_epochs=0,
            **settings,
        )

    return make


def _segmented(**settings: Any) -> Callable[[Sequence[int], int, int], Spol]:
    """Return SPOL's second phase alone: the CAM network comes from an earlier row."""

    def make(channels: Sequence[int], num_classes: int, epochs: int) -> Spol:
        return Spol(
            nn.Identity(),
            channels,
            num_classes,
            cam_epochs=0,
            segmentation_epochs=epochs // 2,
            **settings,
        )

    return make


WITHOUT_SEGMENTATION = "SPOL, multiplication of 3"
SEGMENTATIONS: dict[str, dict[str, Any]] = {
    "segmentation, Gaussian": {"gaussian": True},
    "segmentation, single threshold": {"foreground": 0.15, "background": 0.15},
    "segmentation, the paper's thresholds": {**Spol.PAPER, "gaussian": False},
    "segmentation, the paper's thresholds and Gaussian": {**Spol.PAPER},
}

PARTS: dict[str, list[Training]] = {
    "cam": [
        Training(
            lambda channels, classes, epochs: Cam(nn.Identity(), channels, classes, epochs=epochs),
            {CAM: {}},
            LAST,
        )
    ],
    # SPA, Table 6
    "spa": [
        Training(
            _spa(restriction_weight=0.0),
            {"SPA, neither": {"refine": False}, "SPA, SCG": {"refine": True}},
            LAST_THREE,
        ),
        Training(
            _spa(),
            {"SPA, RAM": {"refine": False}, "SPA, RAM and SCG": {"refine": True}},
            LAST_THREE,
        ),
    ],
    # CSoA, Table 1
    "csoa": [
        Training(_csoa(confseg=False, coaug=False), {"CSoA, base": {}}, LAST_TWO),
        Training(_csoa(coaug=False), {"CSoA, ConfSeg": {}}, LAST_TWO),
        Training(_csoa(confseg=False), {"CSoA, CoAug": {}}, LAST_TWO),
        Training(_csoa(), {"CSoA, both": {}}, LAST_TWO),
        Training(_csoa(coaug_weight=1.0), {"CSoA, both, CoAug at its full weight": {}}, LAST_TWO),
    ],
    # SPOL, Tables 2 to 4
    "spol": [
        Training(_spol(stages=1), {"SPOL, CAM of the last stage": {}}),
        *(
            Training(_spol(stages=stages, fusion=fusion), {f"SPOL, {fusion} of {stages}": {}})
            for fusion in ("addition", "concatenation", "multiplication")
            for stages in (2, 3, 4)
        ),
        Training(_spol(auxiliary=False), {"SPOL, without the auxiliary loss": {}}),
        Training(_spol(attention=False), {"SPOL, without attention": {}}),
        Training(
            _segmented(),
            {
                "SPOL, with segmentation": {"with_cam": False},
                "SPOL, with segmentation and the CAM": {"with_cam": True},
            },
            after=WITHOUT_SEGMENTATION,
        ),
        *(
            Training(
                _segmented(**settings),
                {f"SPOL, {name}": {"with_cam": False}},
                after=WITHOUT_SEGMENTATION,
            )
            for name, settings in SEGMENTATIONS.items()
        ),
    ],
}
