"""ORNet: an activation map from shallow features, refined by a classifier that sees only the map.

Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL", ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wsolrefine._options import check_kind
from wsolrefine.activation.hooks import hooked, output_tensor, with_tensor
from wsolrefine.activation.layout import laid_out
from wsolrefine.functional._grid import resize
from wsolrefine.functional.erasing import attentive_erasing
from wsolrefine.losses import area_loss, entropy_loss, weighted_entropy_loss
from wsolrefine.nn import ActivationGenerator, FeatureList
from wsolrefine.nn.generator import Activation
from wsolrefine.recipes._recipe import MapsOf, Recipe
from wsolrefine.recipes._schedule import check_stages, cosine, freeze, phase_at
from wsolrefine.recipes._settings import check_settings, check_total


class Ornet(Recipe):
    """ORNet: stage one trains a generator inside a classifier, stage two refines its maps.

    Args:
        backbone: images to a list of feature maps, shallow to deep: a
            :class:`wsolrefine.nn.FeatureList`, or any module if ``layer`` is given.
        channels: channels of each feature map.
        num_classes: number of classes.
        evaluator: frozen classifier, images to class scores, trained on these classes. None first
            trains a copy of the backbone with a linear head, for ``evaluator_epochs``.
        stage: shallow feature map for the generator (the paper: an early layer of its networks).
        layer: name of the backbone's submodule that returns this feature map; None: that of the
            FeatureList.
        width: channels of the generator (our choice).
        evaluator_epochs: epochs of the evaluator, if none is given (our choice).
        generator_epochs: epochs of stage one (CUB 70, ImageNet 5: Sec. 4.1).
        refinement_epochs: epochs of stage two (CUB 30, ImageNet 3: Sec. 4.1).
        entropy_weight: alpha of Eq. 10 (1.5: Sec. 4.4).
        weighted: False uses the plain entropy (Table 4).
        entropy_mean: mu of Eq. 15 (0.5: Sec. 3.2.1).
        entropy_std: sigma of Eq. 15 (0.1: Sec. 3.2.1).
        area_weight: beta of Eq. 10 (0.02: Sec. 4.4).
        erasing: whether to use attentive erasing in stage two.
        erasing_threshold: threshold of :func:`wsolrefine.attentive_erasing`; not given in the
            paper.
        erasing_drop: probability that a pixel is erased (0.5: Sec. 3.2.2).
        threshold: ``maps > threshold`` is the mask (our choice).
        learning_rate: learning rate of new layers in stage one (0.001: Sec. 4.1); Adam with cosine
            decay.
        backbone_learning_rate: learning rate of pretrained layers (0.001: Sec. 4.1).
        refinement_factor: factor of the learning rates in stage two (0.0001 / 0.001: Sec. 4.1).

    Raises:
        TypeError: a setting is of the wrong kind, or (in ``generator_loss``) the layer does not
            return a tensor, or a tuple or list that contains one.
        ValueError: ``stage`` is not an index of the backbone's feature maps, ``layer`` is missing,
            a setting is out of its range, or there is no epoch.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> recipe = Ornet(FeatureList(model, ["0", "1"]), [4, 8], 5, stage=0, width=8)
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 14, 14]))

    """

    name = "ornet"

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        evaluator: nn.Module | None = None,
        stage: int = -3,
        layer: str | None = None,
        width: int = 64,
        evaluator_epochs: int = 30,
        generator_epochs: int = 70,
        refinement_epochs: int = 30,
        entropy_weight: float = 1.5,
        weighted: bool = True,
        entropy_mean: float = 0.5,
        entropy_std: float = 0.1,
        area_weight: float = 0.02,
        erasing: bool = True,
        erasing_threshold: float = 0.5,
        erasing_drop: float = 0.5,
        threshold: float = 0.5,
        learning_rate: float = 0.001,
        backbone_learning_rate: float = 0.001,
        refinement_factor: float = 0.1,
    ) -> None:
        settings = check_settings(locals())
        super().__init__(backbone, channels, num_classes)
        check_kind("evaluator", evaluator, (nn.Module, type(None)), "an nn.Module or None")
        check_stages(channels, stage=settings["stage"])
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes", "evaluator"])
        self.hparams.update(settings)
        self.layer = layer if layer is not None else _name(backbone, stage)
        try:
            self.shallow = FeatureList(backbone, [self.layer])
        except ValueError as error:  # it speaks of its own argument
            expected = "layers: expected names", "layer: expected a name"
            raise ValueError(str(error).replace(*expected, 1)) from None
        self.generator = ActivationGenerator(channels[stage], num_classes, width=width)
        self.head = nn.Linear(channels[-1], num_classes)
        self.own_evaluator = evaluator is None
        if evaluator is None:
            evaluator = _Pooled(deepcopy(backbone), nn.Linear(channels[-1], num_classes))
        self.evaluator = evaluator
        first = evaluator_epochs if self.own_evaluator else 0
        self.phases = (first, generator_epochs, refinement_epochs)
        self.epochs = check_total(
            evaluator_epochs=first,
            generator_epochs=generator_epochs,
            refinement_epochs=refinement_epochs,
        )
        self.threshold = threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        losses = (self.evaluator_loss, self.generator_loss, self.refinement_loss)
        return losses[phase_at(epoch, self.phases)](images, labels)

    def evaluator_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the evaluator, which is trained first."""
        return self.total(evaluator_cross_entropy=cross_entropy(self.evaluator(images), labels))

    def generator_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of stage one, Eqs. 5 and 6: shallow features are multiplied by the map.

        Tokens before the first patch, such as a class token, are not on the map and stay unchanged.
        """
        found: list[Activation] = []
        size = (images.shape[-2], images.shape[-1])

        def mask(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            features = output_tensor(self.layer, output)
            found.append(self.generator(laid_out(self.layer, features, size)))
            masked = features.clone()  # modified below through a view with another layout
            laid_out(self.layer, masked, size).mul_(found[-1].probability[:, None].to(masked.dtype))
            return with_tensor(self.layer, output, masked)

        with hooked(self.backbone, [(self.layer, mask)]):
            deep = self.backbone(images)[-1]
        logits = self.head(deep.mean((2, 3)))
        return self.total(
            cross_entropy=cross_entropy(logits, labels),
            auxiliary_cross_entropy=cross_entropy(found[-1].auxiliary_logits, labels),
        )

    def refinement_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of stage two, Eq. 10: evaluation, entropy and area."""
        settings = self.settings
        probability = self.activation(images)
        shown = probability
        if settings.erasing:
            shown = attentive_erasing(
                probability, threshold=settings.erasing_threshold, drop=settings.erasing_drop
            )
        mask = resize(shown, (images.shape[-2], images.shape[-1]))[:, None]
        terms = {"cross_entropy": cross_entropy(self.evaluator(images * mask), labels)}
        if settings.entropy_weight:
            entropy = (
                weighted_entropy_loss(
                    probability, mean=settings.entropy_mean, std=settings.entropy_std
                )
                if settings.weighted
                else entropy_loss(probability)
            )
            terms["entropy_loss"] = settings.entropy_weight * entropy
        terms["area_loss"] = settings.area_weight * area_loss(probability)
        return self.total(**terms)

    def activation(self, images: Tensor) -> Tensor:
        """Return the map ``(B, h, w)``, from the shallow layers and the generator only."""
        activation: Activation = self.generator(self.shallow(images)[0])
        return activation.probability

    def prepare(self, epoch: int) -> None:
        """Freeze the evaluator when it is trained or was passed."""
        if phase_at(epoch, self.phases) or not self.own_evaluator:
            freeze(self.evaluator)

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the evaluator, if one was passed."""
        return {} if self.own_evaluator else {"evaluator": self.evaluator}

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return the evaluator's class scores, and the activation map, the same for all labels."""
        activation = self.activation(images)
        return self.evaluator(images), lambda labels: activation

    def configure_optimizers(self) -> Any:
        """Return Adam with cosine decay in each phase."""
        pretrained = [self.backbone]
        if self.own_evaluator:
            pretrained.append(self.evaluator.get_submodule("backbone"))
        optimizer = torch.optim.Adam(self.parameter_groups(pretrained))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _factor(self, epoch: int) -> float:
        phase = phase_at(epoch, self.phases)
        passed, length = epoch - sum(self.phases[:phase]), max(1, self.phases[phase])
        factor = self.settings.refinement_factor if phase == 2 else 1.0
        return float(factor) * cosine(min(passed, length), length)


class _Pooled(nn.Module):
    """A classifier that averages the last feature map of a backbone."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images)[-1].mean((2, 3)))
        return logits


def _name(backbone: nn.Module, stage: int) -> str:
    if not isinstance(backbone, FeatureList):
        kind = type(backbone).__name__
        raise ValueError(f"layer: expected a name, because the backbone is a {kind}, got None")
    return f"model.{backbone.layers[stage]}"
