"""SPA: a classifier whose activation is restricted to the object, refined by SCG.

Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object
Localization", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.scg import scg
from wsolrefine.losses import restricted_activation_loss
from wsolrefine.nn import ConvolutionalHead
from wsolrefine.recipes._recipe import MapsOf, Recipe, map_of
from wsolrefine.recipes._schedule import check_stages


class Spa(Recipe):
    """SPA: cross entropy and restricted activation in training, SCG at inference.

    Args:
        backbone: images to a list of maps, shallow to deep.
        channels: of each of them.
        num_classes: number of classes.
        stage: the map that the classification head reads. The paper's networks keep 14x14 to their
            end; with a stride of 32 that is the last but one (our choice).
        width: channels of the head (ACoL: 1024).
        dropout: in the head.
        epochs: of training (CUB 100, ILSVRC 20: released scripts).
        warmup_epochs: cross entropy alone at first (CUB 20, ILSVRC 5: released scripts).
        restriction_weight: alpha of Eq. 1, weight of the restricted activation (0.5: released
            scripts). 0 leaves it out.
        restriction_threshold: tau of Eq. 3 (CUB 0.1, ILSVRC 0.4: released scripts).
        restriction_gap: sigma of Eq. 4 (CUB 0.2, ILSVRC 0.1: released scripts).
        restriction_released: take the authors' min-maxed variance, for which the two values above
            were chosen, and not the standard deviation of Eq. 3.
        refine: False returns the CAM.
        scg_stages: the maps whose correlations are added (the paper: the last two of its networks).
        orders: of the correlation.
        foreground: delta_h of Sec. 3.3. The paper's values belong to its own networks; ours were
            chosen on photo scenes (``python -m benchmarks.quality``).
        background: delta_l, likewise.
        threshold: ``maps > threshold`` is the mask. Our choice, likewise.
        learning_rate: of the head; SGD (our choice, as all below).
        backbone_learning_rate: of the backbone.
        momentum: of SGD.
        weight_decay: of SGD.

    Raises:
        ValueError: ``stage`` or ``scg_stages`` name a map that the backbone does not return.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> recipe = Spa(FeatureList(model, ["0", "1"]), [4, 8], 5, stage=-1, scg_stages=(-2, -1))
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 14, 14]))

    """

    name = "spa"

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        stage: int = -2,
        width: int = 1024,
        dropout: float = 0.5,
        epochs: int = 100,
        warmup_epochs: int = 20,
        restriction_weight: float = 0.5,
        restriction_threshold: float = 0.1,
        restriction_gap: float = 0.2,
        restriction_released: bool = True,
        refine: bool = True,
        scg_stages: Sequence[int] = (-3, -2),
        orders: Sequence[int] = (1, 2),
        foreground: float = 0.6,
        background: float = 0.3,
        threshold: float = 0.35,
        learning_rate: float = 0.01,
        backbone_learning_rate: float = 0.001,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        super().__init__(backbone, channels, num_classes)
        check_stages(channels, stage=stage, scg_stages=scg_stages)
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes"])
        self.head = ConvolutionalHead(channels[stage], num_classes, width=width, dropout=dropout)
        self.epochs, self.threshold = epochs, threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        settings = self.settings
        class_maps = self.head(self.backbone(images)[settings.stage])
        loss: Tensor = cross_entropy(class_maps.mean((2, 3)), labels)
        if epoch < settings.warmup_epochs or not settings.restriction_weight:
            return loss
        restriction = restricted_activation_loss(
            class_maps,
            labels,
            threshold=settings.restriction_threshold,
            gap=settings.restriction_gap,
            released=settings.restriction_released,
        )
        weight: float = settings.restriction_weight
        return loss + weight * restriction

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and the refined maps of labels."""
        settings = self.settings
        features = self.backbone(images)
        class_maps = self.head(features[settings.stage])
        # Under autocast a layer norm's output is not in half precision, a convolution's is.
        dtype = features[settings.scg_stages[-1]].dtype
        layers = [features[stage].to(dtype) for stage in settings.scg_stages]

        def maps_of(labels: Tensor) -> Tensor:
            cam = minmax(map_of(class_maps, labels).relu())
            if not settings.refine:
                return cam
            return scg(
                cam.to(dtype),
                layers,
                orders=settings.orders,
                foreground=settings.foreground,
                background=settings.background,
            )

        return class_maps.mean((2, 3)), maps_of

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD with a lower rate for the pretrained backbone."""
        return self.sgd([self.backbone])
