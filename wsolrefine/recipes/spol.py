"""SPOL: a class-agnostic segmentation trained on pseudo labels of a CAM of fused stages.

Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from wsolrefine._options import check_kind
from wsolrefine.functional.gppl import gppl, pseudo_label
from wsolrefine.functional.normalize import minmax
from wsolrefine.losses import masked_bce_loss, multiplicative_loss
from wsolrefine.nn import MFFMaps, MFFNet
from wsolrefine.nn.mff import Fusion
from wsolrefine.recipes._recipe import MapsOf, Recipe, map_of
from wsolrefine.recipes._schedule import freeze, phase_at
from wsolrefine.recipes._settings import check_settings, check_total


class Spol(Recipe):
    """SPOL: first the CAM network, then the segmentation network, each an MFF-Net.

    The pseudo labels differ from the paper's: both thresholds are close to those of the best boxes,
    and the CAM is not extended, so that few pixels are ignored and the background has its share. At
    inference, the map is the mean of the segmentation and the CAM.
    ``Spol(backbone, channels, num_classes, **Spol.PAPER)`` has the paper's.

    Args:
        backbone: images to a list of feature maps, shallow to deep. The segmentation network starts
            with a copy of it.
        channels: channels of each feature map.
        num_classes: number of classes.
        classifier: frozen classifier for inference, images to class scores (the paper:
            DenseNet161). None: the CAM network.
        cam_epochs: epochs of the CAM network (CUB 32, ImageNet 6: Sec. 4.2).
        segmentation_epochs: epochs of the segmentation network (CUB 32, ImageNet 6: Sec. 4.2). 0
            disables it, and the map is the CAM (Table 4, "w/o Seg").
        stages: number of fused stages, from the last (3: Table 2).
        fusion: how stages are fused (multiplication: Eq. 1).
        attention: multiplicative channel attention (Table 3).
        auxiliary: the auxiliary loss of the deepest stage (Table 3).
        distill: the released form of the two losses.
        width: channels of both networks (128: released code).
        dropout: dropout before their last convolution (0.5: released code).
        gaussian: extend the CAM by a Gaussian (GPPL) before it is thresholded, as in the paper.
        foreground: pixels above it are object (the paper: 0.5, Sec. 4.2).
        background: pixels below it are background (the paper: 0.004, Sec. 4.2); those in between
            are ignored.
        with_cam: whether the map is the mean of the segmentation and the CAM of the class at
            inference. The segmentation alone, as in the paper, is the same for all classes.
        cam_threshold: ``maps > threshold`` is the mask, without segmentation (our choice).
        segmentation_threshold: ``maps > threshold`` is the mask, with segmentation (CUB 0.2,
            ImageNet 0.8: released code, without the CAM).
        learning_rate: learning rate of new layers (0.02: Sec. 4.2); SGD.
        backbone_learning_rate: learning rate of the backbones (0.002: Sec. 4.2).
        momentum: momentum of SGD (our choice).
        weight_decay: weight decay of SGD (our choice).

    Raises:
        TypeError: a setting is of the wrong kind.
        ValueError: ``stages`` exceeds the number of feature maps, a setting is out of its range, or
            there is no epoch.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> recipe = Spol(FeatureList(model, ["0", "1"]), [4, 8], 5, stages=2)
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 14, 14]))

    """

    name = "spol"

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "gaussian": True,
            "foreground": 0.5,
            "background": 0.004,
            "with_cam": False,
        }
    )
    """The paper's settings, where the defaults differ."""

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        classifier: nn.Module | None = None,
        cam_epochs: int = 32,
        segmentation_epochs: int = 32,
        stages: int = 3,
        fusion: Fusion = "multiplication",
        attention: bool = True,
        auxiliary: bool = True,
        distill: bool = False,
        width: int = 128,
        dropout: float = 0.5,
        gaussian: bool = False,
        foreground: float = 0.2,
        background: float = 0.1,
        with_cam: bool = True,
        cam_threshold: float = 0.15,
        segmentation_threshold: float = 0.2,
        learning_rate: float = 0.02,
        backbone_learning_rate: float = 0.002,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        settings = check_settings(locals())
        if foreground < background:
            raise ValueError(
                f"foreground: expected at least background={background}, got {foreground}"
            )
        super().__init__(backbone, channels, num_classes)
        check_kind("classifier", classifier, (nn.Module, type(None)), "an nn.Module or None")
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes", "classifier"])
        self.hparams.update(settings)

        def network(num_outputs: int) -> MFFNet:
            return MFFNet(
                channels,
                num_outputs,
                stages=stages,
                fusion=fusion,
                attention=attention,
                width=width,
                dropout=dropout,
            )

        self.cam_network = network(num_classes)
        self.classifier = classifier
        self.epochs = check_total(cam_epochs=cam_epochs, segmentation_epochs=segmentation_epochs)
        self.threshold = cam_threshold
        if segmentation_epochs:
            self.segmentation_backbone = deepcopy(backbone)
            self.segmentation_network = network(1)
            self.threshold = segmentation_threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        if phase_at(epoch, (self.settings.cam_epochs, self.settings.segmentation_epochs)):
            return self.segmentation_loss(images, self.pseudo_labels(images, labels))
        return self.cam_loss(images, labels)

    def cam_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the CAM network."""
        maps = self._class_maps(images)
        deep, fused = maps.deep.mean((2, 3)), maps.fused.mean((2, 3))
        if not self.settings.auxiliary:
            return self.total(cross_entropy=cross_entropy(fused, labels))
        loss = multiplicative_loss(deep, fused, labels, distill=self.settings.distill)
        return self.total(multiplicative_loss=loss)

    @torch.no_grad()
    def pseudo_labels(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return pseudo labels ``(B, h, w)`` from the CAM: 1, 0, or 255 for unknown."""
        maps, settings = minmax(map_of(self._class_maps(images).fused, labels)), self.settings
        if settings.gaussian:
            maps = gppl(maps)
        return pseudo_label(maps, foreground=settings.foreground, background=settings.background)

    def segmentation_loss(self, images: Tensor, target: Tensor) -> Tensor:
        """Return the loss of the segmentation network for pseudo labels ``(B, H, W)``."""
        logits = self.segmentation_network(self.segmentation_backbone(images)).fused
        size = (target.shape[-2], target.shape[-1])
        enlarged = interpolate(logits, size, mode="bilinear", align_corners=True)
        return self.total(masked_bce_loss=masked_bce_loss(enlarged[:, 0], target))

    def _class_maps(self, images: Tensor) -> MFFMaps:
        """Return class maps after a ReLU, as in the released code; their means are the scores."""
        deep, fused = self.cam_network(self.backbone(images))
        return MFFMaps(deep.relu(), fused.relu())

    def prepare(self, epoch: int) -> None:
        """Freeze the classifier, and the CAM network in the phase of the segmentation."""
        if self.classifier is not None:
            freeze(self.classifier)
        if phase_at(epoch, (self.settings.cam_epochs, self.settings.segmentation_epochs)):
            freeze(self.backbone, self.cam_network)

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the classifier, if one was passed."""
        return {} if self.classifier is None else {"classifier": self.classifier}

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and a function from labels to maps ``(B, h, w)``."""
        class_maps = self._class_maps(images).fused
        logits = class_maps.mean((2, 3)) if self.classifier is None else self.classifier(images)
        if not self.settings.segmentation_epochs:
            return logits, lambda labels: minmax(map_of(class_maps, labels))
        segmented = self.segmentation_network(self.segmentation_backbone(images)).fused
        probability: Tensor = segmented[:, 0].sigmoid()

        def maps_of(labels: Tensor) -> Tensor:
            if not self.settings.with_cam:
                return probability
            return (probability + minmax(map_of(class_maps, labels))) / 2

        return logits, maps_of

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD with a lower learning rate for the pretrained backbones."""
        backbones = [self.backbone]
        if self.settings.segmentation_epochs:
            backbones.append(self.segmentation_backbone)
        return self.sgd(backbones)
