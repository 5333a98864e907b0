"""SEM's boundaries: maps of a classifier become pseudo boundaries, which teach an edge detector.

Zhang et al., "Rethinking Localization Map: Towards Accurate Object Perception with Self-Enhancement
Maps", 2020, Sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from wsolrefine.functional._grid import resize
from wsolrefine.functional.conv_crf import conv_crf
from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.pseudo_boundary import pseudo_boundary
from wsolrefine.functional.sem import sem
from wsolrefine.losses import hard_negative_suppression_loss
from wsolrefine.metrics import suppress_non_maxima
from wsolrefine.nn import EdgeHead
from wsolrefine.recipes._schedule import check_stages, freeze, phase_at, two_speeds
from wsolrefine.recipes.localization import Localization, chosen, map_of


class SemEdges(LightningModule):
    """SEM's edge detector: first a classifier for the maps, then, on frozen features, edges.

    Args:
        backbone: images to a list of maps, shallow to deep.
        channels: of each of them.
        num_classes: number of classes.
        classifier_epochs: of the classifier, a 1x1 convolution on the last map whose mean gives the
            class scores (our choice).
        edge_epochs: of the edge head (5: Sec. 4.1.3).
        refine: False takes the CAM in place of SEM (Table 7).
        sem_stage: the map that SEM compares pixels of (the paper: the last one; ours is finer).
        num_seeds: of SEM (60: Sec. 4.3, on a grid of 28x28; the share is kept on other grids).
        map_threshold: value of the map at which the CRF takes neither side (our choice).
        suppression: hard negative suppression; False is the vanilla loss (Table 7).
        negative_weight: lambda of Eq. 1, for which the paper gives no value.
        edge_stages: how many of the backbone's maps the edge head reads, from the first (4: Sec.
            4.1.3); all if there are fewer.
        width: of the edge head (128: Sec. 4.1.3).
        edge_size: of the grid on which it reads them (160x160: Sec. 4.1.3).
        threshold: ``maps > threshold`` is an edge. Our choice.
        learning_rate: of the layers on top, the classifier and the three last convolutions of the
            edge head; Adam (our choice, as are the rates: see ``sgd``).
        backbone_learning_rate: of the backbone, while the classifier is trained, and of the
            convolutions that adapt its maps (a tenth of the other: Sec. 4.1.3).
        decay: times both rates after two fifths of a phase (0.1 after the second of five epochs:
            Sec. 4.1.3).
        sgd: SGD in place of Adam, with a momentum of 0.9 and a weight decay of 5e-4 (the released
            code). The paper's rates are for it: 0.01 and 0.001 (Sec. 4.1.3).

    Raises:
        ValueError: ``sem_stage`` names a map that the backbone does not return, ``edge_stages`` is
            below 1, or ``edge_size`` is not two numbers >= 1.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> recipe = SemEdges(FeatureList(model, ["0", "1"]), [4, 8], 5, sem_stage=-1, width=8)
        >>> logits, maps = recipe.eval()(torch.rand(2, 3, 16, 16))
        >>> logits.shape, maps.shape
        (torch.Size([2, 5]), torch.Size([2, 16, 16]))

    """

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
        super().__init__()
        check_stages(channels, sem_stage=sem_stage)
        if edge_stages < 1:
            raise ValueError(f"edge_stages: expected a number >= 1, got {edge_stages}")
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes"])
        self.settings: Any = self.hparams
        self.backbone = backbone
        self.classes = nn.Conv2d(channels[-1], num_classes, 1)
        self.edges = EdgeHead(channels[:edge_stages], width=width, size=edge_size)
        self.phases = (classifier_epochs, edge_epochs)
        self.epochs, self.threshold = sum(self.phases), threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        if not phase_at(epoch, self.phases):
            return cross_entropy(self.classes(self.backbone(images)[-1]).mean((2, 3)), labels)
        with torch.no_grad():
            features = self.backbone(images)
        maps = self.maps(features, labels)
        return self.edge_loss(features, maps, self.pseudo_boundaries(images, maps))

    @torch.no_grad()
    def maps(self, features: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return where the object is, ``(B, h, w)``: SEM's map of the label, or its CAM."""
        settings = self.settings
        cam = minmax(map_of(self.classes(features[-1]), labels).relu())
        cam = cam.to(features[-1].dtype)  # under autocast a layer norm's output is not in half
        if not settings.refine:
            return cam
        stage = features[settings.sem_stage]
        seeds = round(settings.num_seeds * stage.shape[-2] * stage.shape[-1] / 28**2)
        return sem(cam, stage, num_seeds=max(1, seeds))

    @torch.no_grad()
    def pseudo_boundaries(self, images: Tensor, maps: Tensor) -> Tensor:
        """Return what the edge head learns from, ``(B, H, W)`` bool, for maps of the images."""
        maps = resize(maps.float(), (images.shape[-2], images.shape[-1]))
        colours = _colours(images.float())
        return pseudo_boundary(_follow(maps, colours, self.settings.map_threshold), colours)

    def edge_loss(self, features: Sequence[Tensor], maps: Tensor, boundary: Tensor) -> Tensor:
        """Return the loss of the edge head for boundaries ``(B, H, W)``."""
        settings = self.settings
        return hard_negative_suppression_loss(
            self._logits(features, maps, (boundary.shape[-2], boundary.shape[-1])),
            boundary,
            negative_weight=settings.negative_weight,
            suppression=settings.suppression,
            logits=True,
        )

    def probability(
        self, features: Sequence[Tensor], maps: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return soft edges ``(B, H, W)`` before suppression, for maps as of :meth:`maps`."""
        return self._logits(features, maps, size).sigmoid()

    def _logits(self, features: Sequence[Tensor], maps: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(self.edges(features[: self.settings.edge_stages], maps), size)

    def prepare(self, epoch: int) -> None:
        """Freeze the classifier once the edges are learned."""
        if phase_at(epoch, self.phases):
            freeze(self.backbone, self.classes)

    def on_train_epoch_start(self) -> None:
        """Freeze what the phase of this epoch leaves alone."""
        self.prepare(self.current_epoch)

    def training_step(self, batch: Sequence[Tensor], batch_index: int) -> Tensor:
        """Return and log the loss of a batch."""
        images, labels = batch
        loss = self.loss(images, labels, epoch=self.current_epoch)
        self.log("loss", loss, prog_bar=True, batch_size=len(labels))
        return loss

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Return class scores and thinned edges ``(B, H, W)`` of the size of the images."""
        features = self.backbone(images)
        logits = self.classes(features[-1]).mean((2, 3))
        maps = self.maps(features, chosen(logits, labels))
        edges = self.probability(features, maps, (images.shape[-2], images.shape[-1]))
        return Localization(logits, suppress_non_maxima(edges))

    def configure_optimizers(self) -> Any:
        """Return Adam or SGD, faster on top; the rates fall once in each phase."""
        settings = self.settings
        groups = two_speeds(
            self,
            [self.backbone, self.edges.adapt],
            settings.backbone_learning_rate,
            settings.learning_rate,
        )
        optimizer: torch.optim.Optimizer = torch.optim.Adam(groups)
        if settings.sgd:
            optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _factor(self, epoch: int) -> float:
        phase = phase_at(epoch, self.phases)
        passed = epoch - sum(self.phases[:phase])
        return 1.0 if 5 * passed < 2 * self.phases[phase] else float(self.settings.decay)


def _colours(images: Tensor) -> Tensor:
    """Return each image in [0, 1], whatever it was normalised with."""
    low, high = (end((1, 2, 3), keepdim=True) for end in (images.amin, images.amax))
    return (images - low) / (high - low).clamp_min(torch.finfo(images.dtype).eps)


def _follow(maps: Tensor, colours: Tensor, threshold: float) -> Tensor:
    """Draw maps to the edges of their images, from coarse to fine: a small window then does."""
    values = maps.clamp(0.01, 0.99)
    shift = values.new_tensor(threshold).logit()
    unary = torch.stack([(1 - values).log(), values.log() - shift], 1)
    size = (maps.shape[-2], maps.shape[-1])
    probability = unary
    for scale in (4, 2, 1):
        coarse = [-(-side // scale) for side in size]
        small = [
            interpolate(tensor, coarse, mode="bilinear", antialias=True)
            for tensor in (unary, colours)
        ]
        probability = conv_crf(small[0], small[1], kernel_size=11)
        unary = resize(probability.clamp_min(1e-4).log(), size)
    return probability[:, 1]
