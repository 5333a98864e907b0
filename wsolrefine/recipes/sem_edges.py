"""SEM's edges: an edge detector trained on pseudo boundaries from the maps of a classifier.

Zhang et al., "Rethinking Localization Map: Towards Accurate Object Perception with Self-Enhancement
Maps", 2020, Sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wsolrefine._options import check_number
from wsolrefine.functional._colors import to_colors
from wsolrefine.functional._grid import resize
from wsolrefine.functional.conv_crf import coarse_to_fine
from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.pseudo_boundary import pseudo_boundary
from wsolrefine.functional.sem import seeds_for_grid, sem
from wsolrefine.functional.suppression import suppress_non_maxima
from wsolrefine.losses import hard_negative_suppression_loss
from wsolrefine.nn import EdgeHead
from wsolrefine.recipes._recipe import MapsOf, Recipe, map_of
from wsolrefine.recipes._schedule import check_stages, freeze, phase_at
from wsolrefine.recipes._settings import check_settings, check_total


class SemEdges(Recipe):
    """SEM's edge detector: first a classifier is trained, then edges on its frozen features.

    Args:
        backbone: images to a list of feature maps, shallow to deep.
        channels: channels of each feature map.
        num_classes: number of classes.
        classifier_epochs: epochs of the classifier, a 1x1 convolution on the last feature map,
            averaged for the class scores (our choice).
        edge_epochs: epochs of the edge head (5: Sec. 4.1.3).
        refine: False uses the CAM instead of SEM (Table 7).
        sem_stage: feature map for SEM (the paper: the last one; ours is finer).
        num_seeds: seeds of SEM on a grid of 28x28 (60: Sec. 4.3); the same fraction on other grids.
        map_threshold: value of the map at which the CRF is undecided (our choice).
        suppression: hard negative suppression; False is the vanilla loss (Table 7).
        negative_weight: lambda of Eq. 1; not given in the paper.
        edge_stages: number of feature maps for the edge head, from the first (4: Sec. 4.1.3); all
            if there are fewer.
        width: channels of the edge head (128: Sec. 4.1.3).
        edge_size: grid of the edge head (160x160: Sec. 4.1.3).
        threshold: ``maps > threshold`` is an edge (our choice).
        learning_rate: learning rate of the classifier and of the last three convolutions of the
            edge head; Adam (our choice, with our learning rates: see ``sgd``).
        backbone_learning_rate: learning rate of the backbone, while the classifier is trained, and
            of the convolutions that adapt its feature maps (a tenth of the other: Sec. 4.1.3).
        decay: factor of both learning rates after two fifths of a phase (0.1 after the second of
            five epochs: Sec. 4.1.3).
        sgd: SGD instead of Adam, with a momentum of 0.9 and a weight decay of 5e-4 (released code).
            The paper's learning rates for SGD are 0.01 and 0.001 (Sec. 4.1.3).

    Raises:
        TypeError: a setting is of the wrong kind.
        ValueError: ``sem_stage`` is not an index of the backbone's feature maps, a setting is out
            of its range, or there is no epoch.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> recipe = SemEdges(FeatureList(model, ["0", "1"]), [4, 8], 5, sem_stage=-1, width=8)
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 16, 16]))

    """

    name = "sem_edges"
    regions = False

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        classifier_epochs: int = 10,
        edge_epochs: int = 5,
        refine: bool = True,
        sem_stage: int = -2,
        num_seeds: int = 60,
        map_threshold: float = 0.5,
        suppression: bool = True,
        negative_weight: float = 1.0,
        edge_stages: int = 4,
        width: int = 128,
        edge_size: tuple[int, int] = (160, 160),
        threshold: float = 0.5,
        learning_rate: float = 1e-3,
        backbone_learning_rate: float = 1e-4,
        decay: float = 0.1,
        sgd: bool = False,
    ) -> None:
        settings = check_settings(locals())
        super().__init__(backbone, channels, num_classes)
        check_stages(channels, sem_stage=settings["sem_stage"])
        check_number("map_threshold", map_threshold, above=0, below=1)  # as coarse_to_fine has it
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes"])
        self.hparams.update(settings)
        self.classes = nn.Conv2d(channels[-1], num_classes, 1)
        self.edges = EdgeHead(channels[:edge_stages], width=width, size=edge_size)
        self.phases = (classifier_epochs, edge_epochs)
        self.epochs = check_total(classifier_epochs=classifier_epochs, edge_epochs=edge_epochs)
        self.threshold = threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        if not phase_at(epoch, self.phases):
            logits = self.classes(self.backbone(images)[-1]).mean((2, 3))
            return self.total(cross_entropy=cross_entropy(logits, labels))
        with torch.no_grad():
            features = self.backbone(images)
        maps = self.maps(features, labels)
        return self.edge_loss(features, maps, self.pseudo_boundaries(images, maps))

    @torch.no_grad()
    def maps(self, features: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return SEM's maps of labels ``(B, h, w)``, or their CAMs."""
        settings = self.settings
        cam = minmax(map_of(self.classes(features[-1]), labels).relu())
        # Under autocast, a convolution returns half precision, but a layer norm does not.
        cam = cam.to(features[-1].dtype)
        if not settings.refine:
            return cam
        stage = features[settings.sem_stage]
        size = (stage.shape[-2], stage.shape[-1])
        return sem(cam, stage, num_seeds=seeds_for_grid(size, settings.num_seeds))

    @torch.no_grad()
    def pseudo_boundaries(self, images: Tensor, maps: Tensor) -> Tensor:
        """Return the targets of the edge head, bool ``(B, H, W)``, from maps of the images."""
        maps = resize(maps.float(), (images.shape[-2], images.shape[-1]))
        colors = to_colors(images.float())
        aligned = coarse_to_fine(maps, colors, threshold=self.settings.map_threshold)
        return pseudo_boundary(aligned, colors)

    def edge_loss(self, features: Sequence[Tensor], maps: Tensor, boundary: Tensor) -> Tensor:
        """Return the loss of the edge head for boundaries ``(B, H, W)``."""
        settings = self.settings
        loss = hard_negative_suppression_loss(
            self._logits(features, maps, (boundary.shape[-2], boundary.shape[-1])),
            boundary,
            negative_weight=settings.negative_weight,
            suppression=settings.suppression,
            logits=True,
        )
        return self.total(hard_negative_suppression_loss=loss)

    def probability(
        self, features: Sequence[Tensor], maps: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return soft edges ``(B, H, W)`` before suppression, for maps as of :meth:`maps`."""
        return self._logits(features, maps, size).sigmoid()

    def _logits(self, features: Sequence[Tensor], maps: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(self.edges(features[: self.settings.edge_stages], maps), size)

    def prepare(self, epoch: int) -> None:
        """Freeze the classifier in the phase of the edges."""
        if phase_at(epoch, self.phases):
            freeze(self.backbone, self.classes)

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and a function from labels to thinned edges, ``(B, H, W)``."""
        features = self.backbone(images)
        size = (images.shape[-2], images.shape[-1])

        def maps_of(labels: Tensor) -> Tensor:
            maps = self.maps(features, labels)
            return suppress_non_maxima(self.probability(features, maps, size))

        return self.classes(features[-1]).mean((2, 3)), maps_of

    def configure_optimizers(self) -> Any:
        """Return Adam or SGD with two learning rates, which decay once in each phase."""
        settings = self.settings
        groups = self.parameter_groups([self.backbone, self.edges.adapt])
        optimizer: torch.optim.Optimizer = torch.optim.Adam(groups)
        if settings.sgd:
            optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _factor(self, epoch: int) -> float:
        phase = phase_at(epoch, self.phases)
        passed = epoch - sum(self.phases[:phase])
        return 1.0 if 5 * passed < 2 * self.phases[phase] else float(self.settings.decay)
