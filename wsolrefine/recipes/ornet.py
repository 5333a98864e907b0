"""ORNet: an activation map from shallow features, refined by a classifier that sees only the map.

Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wsolrefine._options import check_kind
from wsolrefine.activation.cams import gap_cam
from wsolrefine.activation.modes import evaluation
from wsolrefine.functional._grid import resize, side_by_side
from wsolrefine.functional.erasing import attentive_erasing
from wsolrefine.functional.normalize import minmax
from wsolrefine.losses import area_loss, entropy_loss, weighted_entropy_loss
from wsolrefine.nn import ActivationGenerator
from wsolrefine.nn.generator import Activation
from wsolrefine.recipes._masked import (
    PooledClassifier,
    layer_name,
    linear_head,
    masked_features,
    pooled_scores,
)
from wsolrefine.recipes._recipe import MapsOf, Recipe
from wsolrefine.recipes._schedule import check_stages, cosine, freeze, phase_at
from wsolrefine.recipes._settings import check_settings, check_total

EvaluateAt = Literal["features", "pixels"]
"""Where the map of stage two is multiplied: into the features of stage one, or into the image."""


class Ornet(Recipe):
    """ORNet: stage one trains a generator inside a classifier, stage two refines its maps.

    The classifier is the backbone with a linear head. The defaults are what worked for us with a
    few thousand images, and differ from the paper, whose stage one sees 400,000 (70 epochs of CUB):
    the backbone is frozen; its head is trained first and then frozen; the generator reads two
    stages; stage two enters the classifier at the layer that stage one multiplies, not at the
    pixels, with a small weight of the entropy, and keeps the auxiliary loss; at inference the map
    is the mean of the activation map and the CAM; rates and epochs are ours.
    ``Ornet(backbone, channels, num_classes, **Ornet.PAPER)`` has the paper's.

    Args:
        backbone: images to a list of feature maps, shallow to deep: a
            :class:`wsolrefine.nn.FeatureList`, or any module if ``layer`` is given.
        channels: channels of each feature map.
        num_classes: number of classes.
        evaluator: frozen classifier that judges pixels, images to class scores, trained on these
            classes (Eq. 9). None: the recipe's own classifier, or the one that
            ``evaluator_epochs`` trains.
        head: trained linear layer on the mean of the last feature map, such as the classifier's
            own. It is copied and frozen. None: ``head_epochs`` trains one.
        reads: feature maps that the generator reads, side by side on the finest of their grids
            (the paper: a shallow one, the one that is multiplied).
        multiplies: feature map that the activation map multiplies (the paper: an early layer of its
            networks).
        layer: name of the backbone's submodule that returns the multiplied feature map; None: that
            of the FeatureList.
        width: channels of the generator (our choice).
        inner_channels: channels of the generator before its map; None: ``num_classes`` (the paper).
        evaluator_epochs: epochs of an evaluator of its own, a copy of the backbone with a linear
            head, all of it trained; 0: none. Without effect if ``evaluator`` is given.
        head_epochs: epochs of the head, on the frozen backbone, before stage one; then it is frozen
            too. 0: the head is trained together with the generator, as in the paper. Without effect
            if ``head`` is given.
        generator_epochs: epochs of stage one (CUB 70, ImageNet 5: Sec. 4.1; a few thousand images
            are enough for a generator alone).
        refinement_epochs: epochs of stage two (CUB 30, ImageNet 3: Sec. 4.1); 0: no stage two.
        train_backbone: whether stage one trains the backbone too, as in the paper.
        auxiliary_weight: weight of the generator's auxiliary class loss (Eq. 6: 1); 0: none.
        refinement_auxiliary_weight: its weight in stage two (the paper: none there). Without
            effect if ``auxiliary_weight`` is 0.
        evaluate_at: what stage two multiplies by the map: the ``"features"`` that stage one
            multiplies, in the recipe's own classifier, or the ``"pixels"`` of the image (Eq. 9).
        entropy_weight: alpha of Eq. 10 (1.5: Sec. 4.4; ours is 0.01).
        weighted: False uses the plain entropy (Table 4).
        entropy_mean: mu of Eq. 15 (0.5: Sec. 3.2.1).
        entropy_std: sigma of Eq. 15 (0.1: Sec. 3.2.1).
        area_weight: beta of Eq. 10 (0.02: Sec. 4.4).
        erasing: whether to use attentive erasing in stage two.
        erasing_threshold: threshold of :func:`wsolrefine.attentive_erasing`; not given in the
            paper.
        erasing_drop: probability that a pixel is erased (0.5: Sec. 3.2.2).
        with_cam: whether the map at inference is the mean of the activation map and the CAM of the
            class, each min-maxed. The activation map alone, as in the paper, is the same for all
            classes.
        threshold: ``maps > threshold`` is the mask (our choice).
        learning_rate: learning rate of new layers (0.001: Sec. 4.1; ours is 0.003); Adam with
            cosine decay.
        backbone_learning_rate: learning rate of pretrained layers (0.001: Sec. 4.1).
        refinement_factor: factor of the learning rates in stage two (0.0001 / 0.001: Sec. 4.1;
            ours is 0.33).

    Raises:
        TypeError: a setting is of the wrong kind, or (in ``generator_loss``) the layer does not
            return a tensor, or a tuple or list that contains one.
        ValueError: ``reads`` or ``multiplies`` is not an index of the backbone's feature maps,
            ``layer`` is missing, ``head`` has other sizes, there is an evaluator although stage two
            is evaluated at features, a setting is out of its range, or there is no epoch.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> backbone = FeatureList(model, ["0", "1"])
        >>> recipe = Ornet(backbone, [4, 8], 5, reads=[0, 1], multiplies=0, width=8)
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 14, 14]))

    """

    name = "ornet"

    PAPER: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "reads": (-3,),
            "evaluator_epochs": 30,
            "head_epochs": 0,
            "generator_epochs": 70,
            "refinement_epochs": 30,
            "train_backbone": True,
            "refinement_auxiliary_weight": 0.0,
            "evaluate_at": "pixels",
            "entropy_weight": 1.5,
            "with_cam": False,
            "learning_rate": 0.001,
            "refinement_factor": 0.1,
        }
    )
    """The paper's settings, with its epochs on CUB, where the defaults differ. It does not say how
    its evaluator was trained; the epochs are ours."""

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        evaluator: nn.Module | None = None,
        head: nn.Module | None = None,
        reads: Sequence[int] = (-3, -2),
        multiplies: int = -3,
        layer: str | None = None,
        width: int = 64,
        inner_channels: int | None = None,
        evaluator_epochs: int = 0,
        head_epochs: int = 5,
        generator_epochs: int = 5,
        refinement_epochs: int = 3,
        train_backbone: bool = False,
        auxiliary_weight: float = 1.0,
        refinement_auxiliary_weight: float = 1.0,
        evaluate_at: EvaluateAt = "features",
        entropy_weight: float = 0.01,
        weighted: bool = True,
        entropy_mean: float = 0.5,
        entropy_std: float = 0.1,
        area_weight: float = 0.02,
        erasing: bool = True,
        erasing_threshold: float = 0.5,
        erasing_drop: float = 0.5,
        with_cam: bool = True,
        threshold: float = 0.5,
        learning_rate: float = 0.003,
        backbone_learning_rate: float = 0.001,
        refinement_factor: float = 0.33,
    ) -> None:
        settings = check_settings(locals())
        super().__init__(backbone, channels, num_classes)
        if settings["inner_channels"] is None:
            settings["inner_channels"] = num_classes
        check_kind("evaluator", evaluator, (nn.Module, type(None)), "an nn.Module or None")
        check_stages(channels, reads=settings["reads"], multiplies=settings["multiplies"])
        if evaluate_at == "features" and (evaluator is not None or evaluator_epochs):
            raise ValueError("evaluate_at: expected 'pixels' with an evaluator, got 'features'")
        modules = ["backbone", "evaluator", "head"]
        self.save_hyperparameters(ignore=[*modules, "channels", "num_classes"])
        self.hparams.update(settings)
        self.layer = layer_name(backbone, layer, multiplies)
        self.generator = ActivationGenerator(
            sum(channels[index] for index in settings["reads"]),
            num_classes if auxiliary_weight else None,
            inner_channels=settings["inner_channels"],
            width=width,
        )
        self.head = linear_head(channels[-1], num_classes, head)
        self.head_first = head is not None or head_epochs > 0
        self.own_evaluator = evaluator is None and evaluator_epochs > 0
        if self.own_evaluator:
            evaluator = PooledClassifier(deepcopy(backbone), linear_head(channels[-1], num_classes))
        self.evaluator = evaluator
        lengths = {
            "evaluator_epochs": evaluator_epochs if self.own_evaluator else 0,
            "head_epochs": 0 if head is not None else head_epochs,
            "generator_epochs": generator_epochs,
            "refinement_epochs": refinement_epochs,
        }
        self.phases = tuple(lengths.values())
        self.epochs = check_total(**lengths)
        self.threshold = threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        losses = (self.evaluator_loss, self.head_loss, self.generator_loss, self.refinement_loss)
        return losses[phase_at(epoch, self.phases)](images, labels)

    def evaluator_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the recipe's own evaluator."""
        assert self.evaluator is not None
        return self.total(evaluator_cross_entropy=cross_entropy(self.evaluator(images), labels))

    def head_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the head on the frozen backbone."""
        with torch.no_grad(), evaluation(self.backbone):
            features = self.backbone(images)
        logits = pooled_scores(self.head, features)
        return self.total(head_cross_entropy=cross_entropy(logits, labels))

    def generator_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of stage one, Eqs. 5 and 6: shallow features are multiplied by the map.

        Tokens before the first patch, such as a class token, are not on the map and stay unchanged.
        """
        activation = self.generate(self.backbone(images))
        logits = self.classify(images, activation.probability)
        terms = {"cross_entropy": cross_entropy(logits, labels)}
        if activation.auxiliary_logits is not None:
            auxiliary = cross_entropy(activation.auxiliary_logits, labels)
            terms["auxiliary_cross_entropy"] = self.settings.auxiliary_weight * auxiliary
        return self.total(**terms)

    def refinement_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of stage two: evaluation, entropy and area (Eq. 10), and auxiliary."""
        settings = self.settings
        activation = self.generate(self.backbone(images))
        shown = probability = activation.probability
        if settings.erasing:
            shown = attentive_erasing(
                probability, threshold=settings.erasing_threshold, drop=settings.erasing_drop
            )
        terms = {"cross_entropy": cross_entropy(self.evaluate(images, shown), labels)}
        if settings.entropy_weight:
            options = {"mean": settings.entropy_mean, "std": settings.entropy_std}
            entropy = (
                weighted_entropy_loss(probability, **options)
                if settings.weighted
                else entropy_loss(probability)
            )
            terms["entropy_loss"] = settings.entropy_weight * entropy
        terms["area_loss"] = settings.area_weight * area_loss(probability)
        if activation.auxiliary_logits is not None and settings.refinement_auxiliary_weight:
            auxiliary = cross_entropy(activation.auxiliary_logits, labels)
            terms["auxiliary_cross_entropy"] = settings.refinement_auxiliary_weight * auxiliary
        return self.total(**terms)

    def generate(self, features: Sequence[Tensor]) -> Activation:
        """Return the map ``(B, h, w)`` of the backbone's feature maps, and auxiliary scores."""
        read = [features[index] for index in self.settings.reads]
        activation: Activation = self.generator(side_by_side(read))
        return activation

    def classify(self, images: Tensor, maps: Tensor | None = None) -> Tensor:
        """Return class scores of the backbone and the head; maps multiply the layer's features."""
        if maps is None:
            return pooled_scores(self.head, self.backbone(images))
        return pooled_scores(self.head, masked_features(self.backbone, self.layer, images, maps))

    def evaluate(self, images: Tensor, maps: Tensor) -> Tensor:
        """Return the class scores of stage two for maps: of the features or of the pixels."""
        if self.settings.evaluate_at == "features":
            return self.classify(images, maps)
        seen = images * resize(maps, (images.shape[-2], images.shape[-1]))[:, None]
        return self.classify(seen) if self.evaluator is None else self.evaluator(seen)

    def prepare(self, epoch: int) -> None:
        """Freeze what the phase does not train."""
        phase = phase_at(epoch, self.phases)
        if self.evaluator is not None and (phase or not self.own_evaluator):
            freeze(self.evaluator)
        if not self.settings.train_backbone or (phase == 3 and self.evaluator is None):
            freeze(self.backbone)
        if phase == 3 or (phase == 2 and self.head_first):
            freeze(self.head)

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the evaluator, if one was passed."""
        if self.evaluator is None or self.own_evaluator:
            return {}
        return {"evaluator": self.evaluator}

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and a function from labels to maps ``(B, h, w)``."""
        features = self.backbone(images)
        activation = self.generate(features).probability
        logits = pooled_scores(self.head, features)
        if self.evaluator is not None:
            logits = self.evaluator(images)

        def maps_of(labels: Tensor) -> Tensor:
            if not self.settings.with_cam:
                return activation
            weight = self.head.weight
            cam = gap_cam(features[-1].to(weight.dtype), weight, labels)
            size = (activation.shape[-2], activation.shape[-1])
            enlarged = resize(minmax(cam.to(activation.dtype)), size)
            return (minmax(activation) + enlarged) / 2

        return logits, maps_of

    def configure_optimizers(self) -> Any:
        """Return Adam with cosine decay in each phase."""
        pretrained = [self.backbone]
        if self.own_evaluator and self.evaluator is not None:
            pretrained.append(self.evaluator.get_submodule("backbone"))
        optimizer = torch.optim.Adam(self.parameter_groups(pretrained))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _factor(self, epoch: int) -> float:
        phase = phase_at(epoch, self.phases)
        passed, length = epoch - sum(self.phases[:phase]), max(1, self.phases[phase])
        factor = self.settings.refinement_factor if phase == 3 else 1.0
        return float(factor) * cosine(min(passed, length), length)
