"""CSoA: two classifiers that correct each other's maps, and images that correct each other's.

Kou et al., "Improve CAM with Auto-adapted Segmentation and Co-supervised Augmentation", WACV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, interpolate

from wsolrefine.functional._grid import resize
from wsolrefine.functional.confseg import confseg
from wsolrefine.losses import coaug_loss, confseg_loss
from wsolrefine.nn import ConvolutionalHead
from wsolrefine.recipes._recipe import MapsOf, Recipe, map_of
from wsolrefine.recipes._schedule import check_stages, freeze


class Csoa(Recipe):
    """CSoA: ConfSeg and CoAug in training, two thresholded maps joined at inference.

    Args:
        backbone: images to a list of maps, shallow to deep.
        channels: of each of them.
        num_classes: number of classes.
        embedding: images (B, 3, H, W) to vectors (B, D), frozen; the paper's is AlexNet's features.
            None takes one of the backbone's maps in place of the image, which the paper allows,
            relative to its mean, and the mean of that times the map (our choice).
        embedding_stage: which one.
        stage: the map that the last classifier reads. The paper's networks keep 14x14 to their end;
            with a stride of 32 that is the last but one (our choice).
        auxiliary_stage: the earlier map that the first classifier reads, averaged down to the same
            grid.
        width: channels of both classifiers (1024: Sec. 4.1).
        dropout: in both.
        epochs: of training. The paper gives no number; 100 is our choice.
        confseg: False leaves ConfSeg out.
        confseg_weight: times the ramp, weight of the ConfSeg loss (1: Eq. 6).
        confseg_mean: divide the ConfSeg loss, a sum in Eq. 5, by the number of pixels (our choice:
            a sum grows with the grid).
        coaug: False leaves CoAug out.
        coaug_weight: of the CoAug loss (1: Sec. 3.2).
        gamma: of Eq. 12, for which the paper gives no value.
        delta: likewise.
        map_threshold: theta of Eq. 13 (0.3: best in Table 3).
        learning_rate: of the classifiers (0.001: Sec. 4.1, SGD).
        backbone_learning_rate: of the backbone (likewise).
        decay: of both rates each epoch (0.95: Sec. 4.1).
        momentum: of SGD (0.9: Sec. 4.1).
        weight_decay: of SGD (5e-4: Sec. 4.1).

    Raises:
        ValueError: a stage names a map that the backbone does not return.

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
        embedding_stage: int = -1,
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
        super().__init__(backbone, channels, num_classes)
        check_stages(
            channels, stage=stage, auxiliary_stage=auxiliary_stage, embedding_stage=embedding_stage
        )
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes", "embedding"])
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
        loss: Tensor = cross_entropy(class_maps.mean((2, 3)), labels)
        loss = loss + cross_entropy(auxiliary_maps.mean((2, 3)), labels)
        cam, auxiliary = map_of(class_maps, labels), map_of(auxiliary_maps, labels)
        if settings.confseg:
            ramp = min(1.0, (epoch + 1) / self.epochs)  # the paper only says that it increases
            scale = cam[0].numel() if settings.confseg_mean else 1
            loss = loss + ramp * settings.confseg_weight * confseg_loss(auxiliary, cam) / scale
        if settings.coaug:
            source = images if self.embedding is not None else stages[settings.embedding_stage]
            loss = loss + settings.coaug_weight * self._coaug_loss(source, cam, labels)
        return loss

    def _class_maps(self, stages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the class maps of the last classifier and of the first, on one grid."""
        features = stages[self.settings.stage]
        size = (features.shape[-2], features.shape[-1])
        early = adaptive_avg_pool2d(stages[self.settings.auxiliary_stage], size)
        return self.head(features), self.auxiliary_head(early)

    def _coaug_loss(self, source: Tensor, cam: Tensor, labels: Tensor) -> Tensor:
        confident = confseg(cam.detach()).confident.to(cam.dtype)
        # The map is a weight on the image: it has to lie in [0, 1], which the paper leaves open. As
        # at inference, and not by its minimum too: one pixel far below the others would do then.
        weight = _relative(cam)
        source = source.detach()  # the map is to move, not what it is laid over
        size = (source.shape[-2], source.shape[-1])
        weight = resize(weight, size)[:, None]
        confident = interpolate(confident[:, None], size, mode="nearest")
        weights = (weight, 1 - weight, (1 - weight) * confident)
        foreground, background, confident_background = (
            self._embed(part, source) for part in weights
        )
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
            # Relative to the image's mean, so that neither a map of ones nor a single pixel sets
            # object and background apart the most: for a map that is 1 on a share a of the image
            # the distance of the two is 2 a (1 - a) times that of their means.
            return (weight * (source - source.mean((2, 3), keepdim=True))).mean((2, 3))
        vectors: Tensor = self.embedding(weight * source)
        return vectors.flatten(1)

    def prepare(self, epoch: int) -> None:
        """Keep the embedding as it is; call it before the batches of an epoch."""
        if self.embedding is not None:
            freeze(self.embedding)

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the embedding, if one was passed."""
        return {} if self.embedding is None else {"embedding": self.embedding}

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and the larger of the two maps of labels, each over its maximum.

        That map is above ``threshold`` where one of the two is, the union of Eq. 13.
        """
        class_maps, auxiliary_maps = self._class_maps(self.backbone(images))

        def maps_of(labels: Tensor) -> Tensor:
            both = (_relative(map_of(maps, labels)) for maps in (class_maps, auxiliary_maps))
            return torch.maximum(*both)

        return class_maps.mean((2, 3)), maps_of

    def configure_optimizers(self) -> Any:
        """Return SGD whose rate decays by a factor each epoch."""
        optimizer = self.sgd([self.backbone])
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.settings.decay)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def _relative(maps: Tensor) -> Tensor:
    """Divide each map by its maximum; a map that is nowhere positive becomes zero."""
    positive = maps.relu()
    peak = positive.amax((1, 2), keepdim=True)
    return torch.where(peak > 0, positive / peak.where(peak > 0, 1.0), 0.0)
