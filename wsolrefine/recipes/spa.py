"""SPA: a classifier whose activation is restricted to the object; its maps are refined by SCG.

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
from wsolrefine.recipes._settings import check_settings


class Spa(Recipe):
    """SPA: cross entropy and restricted activation in training, SCG at inference.

    Args:
        backbone: images to a list of feature maps, shallow to deep.
        channels: channels of each feature map.
        num_classes: number of classes.
        stage: feature map for the classification head. The paper's networks end at 14x14; with a
            stride of 32, the second-to-last map has this grid (our choice).
        width: channels of the head (ACoL: 1024).
        dropout: dropout of the head.
        epochs: epochs of training (CUB 100, ILSVRC 20: released scripts).
        warmup_epochs: epochs with cross entropy only (CUB 20, ILSVRC 5: released scripts).
        restriction_weight: alpha of Eq. 1, the weight of the restricted activation loss (0.5:
            released scripts); 0 disables it.
        restriction_threshold: tau of Eq. 3 (CUB 0.1, ILSVRC 0.4: released scripts).
        restriction_gap: sigma of Eq. 4 (CUB 0.2, ILSVRC 0.1: released scripts).
        restriction_released: use the min-max normalized variance of the released code, to which the
            two values above refer, instead of the standard deviation of Eq. 3.
        refine: False returns the CAM.
        scg_stages: feature maps whose correlations are added (the paper: the last two of its
            networks).
        orders: orders of the correlation.
        foreground: delta_h of Sec. 3.3. The paper's values are for its own networks; ours were
            chosen on photo scenes (``python -m benchmarks.quality``).
        background: delta_l of Sec. 3.3, chosen in the same way.
        threshold: ``maps > threshold`` is the mask; chosen in the same way.
        learning_rate: learning rate of the head; SGD (our choice, like all values below).
        backbone_learning_rate: learning rate of the backbone.
        momentum: momentum of SGD.
        weight_decay: weight decay of SGD.

    Raises:
        TypeError: a setting is of the wrong kind.
        ValueError: ``stage`` or ``scg_stages`` is not an index of the backbone's feature maps, or a
            setting is out of its range.

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
        settings = check_settings(locals())
        super().__init__(backbone, channels, num_classes)
        check_stages(channels, stage=settings["stage"], scg_stages=settings["scg_stages"])
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes"])
        self.hparams.update(settings)
        self.head = ConvolutionalHead(channels[stage], num_classes, width=width, dropout=dropout)
        self.epochs, self.threshold = epochs, threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        settings = self.settings
        class_maps = self.head(self.backbone(images)[settings.stage])
        entropy = cross_entropy(class_maps.mean((2, 3)), labels)
        if epoch < settings.warmup_epochs or not settings.restriction_weight:
            return self.total(cross_entropy=entropy)
        restriction = restricted_activation_loss(
            class_maps,
            labels,
            threshold=settings.restriction_threshold,
            gap=settings.restriction_gap,
            released=settings.restriction_released,
        )
        return self.total(
            cross_entropy=entropy,
            restricted_activation_loss=settings.restriction_weight * restriction,
        )

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and a function from labels to refined maps."""
        settings = self.settings
        features = self.backbone(images)
        class_maps = self.head(features[settings.stage])
        # Under autocast, a convolution returns half precision, but a layer norm does not.
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
        """Return SGD with a lower learning rate for the pretrained backbone."""
        return self.sgd([self.backbone])
