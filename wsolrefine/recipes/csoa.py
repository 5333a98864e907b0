"""CSoA: two classifiers that correct each other's maps; images of a batch supervise each other.

Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised Augmentation", WACV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate

from wsolrefine._options import check_kind
from wsolrefine.functional._grid import resize
from wsolrefine.functional.confseg import confseg
from wsolrefine.losses import coaug_loss, confseg_loss
from wsolrefine.nn import ConvolutionalHead
from wsolrefine.recipes._recipe import MapsOf, Recipe, map_of
from wsolrefine.recipes._schedule import check_stages, freeze
from wsolrefine.recipes._settings import check_settings


class Csoa(Recipe):
    """CSoA: ConfSeg and CoAug in training, the union of two thresholded maps at inference.

    Args:
        backbone: images to a list of feature maps, shallow to deep.
        channels: channels of each feature map.
        num_classes: number of classes.
        embedding: frozen network, images (B, 3, H, W) to vectors (B, D); the paper uses features of
            AlexNet. None: the mean of a feature map of the backbone, weighted by the map (our
            choice; the paper allows feature maps).
        embedding_stage: index of this feature map.
        stage: feature map for the last classifier. The paper's networks end at 14x14; with a stride
            of 32, the second-to-last map has this grid (our choice).
        auxiliary_stage: earlier feature map for the first classifier, average-pooled to the same
            grid.
        width: channels of both classifiers (1024: Sec. 4.1).
        dropout: dropout of both classifiers.
        epochs: epochs of training (our choice; not given in the paper).
        confseg: False disables ConfSeg.
        confseg_weight: final weight of the ConfSeg loss (1: Eq. 6).
        confseg_mean: divide the ConfSeg loss, a sum in Eq. 5, by the number of pixels, so that its
            weight does not depend on the grid (our choice).
        coaug: False disables CoAug.
        coaug_weight: weight of the CoAug loss (1: Sec. 3.2).
        gamma: gamma of Eq. 12 (our choice; not given in the paper).
        delta: delta of Eq. 12 (our choice; not given in the paper).
        map_threshold: theta of Eq. 13 (0.3: best in Table 3).
        learning_rate: learning rate of the classifiers (0.001: Sec. 4.1, SGD).
        backbone_learning_rate: learning rate of the backbone (0.001: Sec. 4.1).
        decay: factor of both learning rates in each epoch (0.95: Sec. 4.1).
        momentum: momentum of SGD (0.9: Sec. 4.1).
        weight_decay: weight decay of SGD (5e-4: Sec. 4.1).

    Raises:
        TypeError: a setting is of the wrong kind.
        ValueError: a stage is not an index of the backbone's feature maps, or a setting is out of
            its range.

    Example:
        >>> import torch
        >>> from wsolrefine.nn import FeatureList
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 8, 3))
        >>> backbone = FeatureList(model, ["0", "1"])
        >>> recipe = Csoa(backbone, [4, 8], 5, stage=-1, auxiliary_stage=-2, width=16)
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 12, 12]))

    """

    name = "csoa"

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        embedding: nn.Module | None = None,
        embedding_stage: int = -2,
        stage: int = -2,
        auxiliary_stage: int = -3,
        width: int = 1024,
        dropout: float = 0.5,
        epochs: int = 100,
        confseg: bool = True,
        confseg_weight: float = 1.0,
        confseg_mean: bool = True,
        coaug: bool = True,
        coaug_weight: float = 1.0,
        gamma: float = 1.0,
        delta: float = 1.0,
        map_threshold: float = 0.3,
        learning_rate: float = 0.001,
        backbone_learning_rate: float = 0.001,
        decay: float = 0.95,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        settings = check_settings(locals())
        super().__init__(backbone, channels, num_classes)
        check_kind("embedding", embedding, (nn.Module, type(None)), "an nn.Module or None")
        named = ("stage", "auxiliary_stage", "embedding_stage")
        check_stages(channels, **{name: settings[name] for name in named})
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes", "embedding"])
        self.hparams.update(settings)
        self.head = ConvolutionalHead(channels[stage], num_classes, width=width, dropout=dropout)
        self.auxiliary_head = ConvolutionalHead(
            channels[auxiliary_stage], num_classes, width=width, dropout=dropout
        )
        self.embedding = embedding
        self.epochs, self.threshold = epochs, map_threshold

    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""
        settings = self.settings
        stages = self.backbone(images)
        class_maps, auxiliary_maps = self._class_maps(stages)
        terms = {
            "cross_entropy": cross_entropy(class_maps.mean((2, 3)), labels),
            "auxiliary_cross_entropy": cross_entropy(auxiliary_maps.mean((2, 3)), labels),
        }
        cam, auxiliary = map_of(class_maps, labels), map_of(auxiliary_maps, labels)
        if settings.confseg:
            ramp = min(1.0, (epoch + 1) / self.epochs)  # the paper only states that it increases
            scale = cam[0].numel() if settings.confseg_mean else 1
            confidence = confseg_loss(auxiliary, cam)
            terms["confseg_loss"] = ramp * settings.confseg_weight * confidence / scale
        if settings.coaug:
            source = images if self.embedding is not None else stages[settings.embedding_stage]
            terms["coaug_loss"] = settings.coaug_weight * self._coaug_loss(source, cam, labels)
        return self.total(**terms)

    def _class_maps(self, stages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the class maps of the last classifier and of the first, on one grid."""
        features = stages[self.settings.stage]
        size = (features.shape[-2], features.shape[-1])
        early = adaptive_avg_pool2d(stages[self.settings.auxiliary_stage], size)
        return self.head(features), self.auxiliary_head(early)

    def _coaug_loss(self, source: Tensor, cam: Tensor, labels: Tensor) -> Tensor:
        confident = confseg(cam.detach()).confident.to(cam.dtype)
        # As a weight, the map must lie in [0, 1]; the paper does not say how. Divide by the maximum
        # only, as at inference: with min-max, one very negative pixel would satisfy the loss.
        weight = _relative(cam)
        source = source.detach()  # the loss changes only the map
        size = (source.shape[-2], source.shape[-1])
        weight = resize(weight, size)[:, None]
        confident = interpolate(confident[:, None], size, mode="nearest")
        weights = (weight, 1 - weight, (1 - weight) * confident)
        foreground, background, confident_background = (self._embed(w, source) for w in weights)
        return coaug_loss(
            foreground,
            background,
            confident_background,
            labels,
            gamma=self.settings.gamma,
            delta=self.settings.delta,
        )

    def _embed(self, weight: Tensor, source: Tensor) -> Tensor:
        if self.embedding is None:
            # A mean over the part, so that the area of the map is not what the loss can win with.
            # Less than one cell counts as little: divided by its own weight, it would count in full
            # and have gradients that no learning rate is small enough for.
            return (weight * source).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1.0)
        vectors: Tensor = self.embedding(weight * source)
        return vectors.flatten(1)

    def prepare(self, epoch: int) -> None:
        """Freeze the embedding; call it before each epoch."""
        if self.embedding is not None:
            freeze(self.embedding)

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the embedding, if one was passed."""
        return {} if self.embedding is None else {"embedding": self.embedding}

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and a function from labels to maps.

        A map is the pixel-wise maximum of the two class maps, each divided by its own maximum, so
        thresholding it gives the union of Eq. 13.
        """
        class_maps, auxiliary_maps = self._class_maps(self.backbone(images))

        def maps_of(labels: Tensor) -> Tensor:
            last, first = (_relative(map_of(maps, labels)) for maps in (class_maps, auxiliary_maps))
            return torch.maximum(last, first)

        return class_maps.mean((2, 3)), maps_of

    def configure_optimizers(self) -> Any:
        """Return SGD whose learning rates decay by a factor in each epoch."""
        optimizer = self.sgd([self.backbone])
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.settings.decay)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _relative(maps: Tensor) -> Tensor:
    """Divide the positive part of each map by its maximum; a map without one becomes zero."""
    positive = maps.relu()
    peak = positive.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, positive / peak.where(peak > 0, 1.0), 0.0)
