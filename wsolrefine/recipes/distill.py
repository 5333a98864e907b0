"""Distillation: a localizer of any kind teaches a small network, which needs one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsolrefine._options import check_kind
from wsolrefine.functional._numeric import working
from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.localization.localizer import Localizer
from wsolrefine.localization.methods import OWN_THRESHOLD
from wsolrefine.nn import FeatureList
from wsolrefine.recipes._masked import pooled_scores
from wsolrefine.recipes._recipe import MapsOf, Recipe
from wsolrefine.recipes._schedule import check_stages, cosine, freeze
from wsolrefine.recipes._settings import Student, check_settings
from wsolrefine.recipes._student import GeneratorStudent, MFFStudent, on_grid


class Distill(Recipe):
    """Distillation: a small network learns the maps of a slow localizer from images without labels.

    ``loss = BCE(sigmoid(student(features)), map of the teacher)``, with the map itself as a soft
    target: no threshold turns it into labels. The student reads feature maps of the backbone, so
    inference is one forward pass of the backbone. Its map knows no class and is the same for all
    labels. This is not the method of a paper; soft targets are Hinton's.

    The teacher is no part of the recipe's state: checkpoints and files do not contain it, and
    ``recipe.teacher`` may be assigned. Without one, the recipe localizes but cannot be trained.

    Args:
        backbone: images to a list of feature maps, shallow to deep: a
            :class:`wsolrefine.nn.FeatureList` around a classifier, or any module if ``train_head``
            is True and ``teacher`` is no name.
        channels: channels of each feature map.
        num_classes: number of classes: those of the backbone's classifier; with ``train_head``
            those of the teacher.
        teacher: the localizer that teaches, also another recipe; or the name of a method, such as
            ``"accurate"``, on the backbone's own classifier. It gets the same images as the
            backbone, in evaluation mode, and does not change. None: none.
        use_labels: True takes the teacher's maps of the labels, which must be its classes; False of
            the classes that it predicts, and labels are not needed.
        student: ``generator`` is an :class:`wsolrefine.nn.ActivationGenerator` on the stages side
            by side, ``mff`` an :class:`wsolrefine.nn.MFFNet`.
        student_stages: feature maps that the student reads; its map has the finest of their grids.
        width: channels of the student.
        dropout: dropout of the MFF-Net before its last convolution.
        train_head: class scores at inference: False takes those of the backbone's classifier, from
            the same forward pass; True those of a linear layer on the mean of the last feature map,
            which learns the teacher's probabilities.
        epochs: epochs of training.
        threshold: ``maps > threshold`` is the mask; None: that of the teacher, or 0.5 without one.
        learning_rate: learning rate of the student and the head; Adam with cosine decay.
        backbone_learning_rate: learning rate of the backbone. 0 freezes it, with its batch-norm
            statistics. Otherwise its class scores learn the teacher's probabilities too, and the
            teacher must have a model of its own.

    Raises:
        TypeError: a setting is of the wrong kind, or the teacher is no localizer.
        ValueError: a setting is out of its range, a stage is not an index of the feature maps, the
            backbone is no FeatureList but its classifier is needed, the teacher makes maps of
            edges, or the recipe trains weights of the teacher.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from wsolrefine.nn import FeatureList
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 5))
        >>> backbone = FeatureList(model, ["0", "1"])
        >>> recipe = Distill(backbone, [4, 8], 5, teacher="scg", student_stages=(0, 1))
        >>> bool(recipe.loss(torch.rand(2, 3, 16, 16), epoch=0) > 0)
        True
        >>> found = recipe(torch.rand(2, 3, 16, 16))
        >>> found.logits.shape, found.coarse.shape
        (torch.Size([2, 5]), torch.Size([2, 1, 14, 14]))

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.

    """

    name = "distill"
    teacher: Localizer | None = None

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        *,
        teacher: Localizer | str | None = None,
        use_labels: bool = False,
        student: Student = "generator",
        student_stages: Sequence[int] = (-3, -2),
        width: int = 64,
        dropout: float = 0.5,
        train_head: bool = False,
        epochs: int = 10,
        threshold: float | None = None,
        learning_rate: float = 0.003,
        backbone_learning_rate: float = 0.0,
    ) -> None:
        check_kind("teacher", teacher, (Localizer, str, type(None)), "a Localizer, a name or None")
        named = teacher if isinstance(teacher, str) else None
        given = {**locals(), "teacher": named}
        if threshold is None:
            del given["threshold"]  # which other recipes always have
        settings = check_settings(given)
        super().__init__(backbone, channels, num_classes)
        check_stages(channels, student_stages=settings["student_stages"])
        self.save_hyperparameters(ignore=["backbone", "channels", "num_classes", "teacher"])
        self.hparams.update(settings)
        if not train_head:
            _classifier("train_head: expected True", backbone, train_head)
        self.teacher = _localizer(backbone, teacher) if isinstance(teacher, str) else teacher
        self.hparams.update(teacher=named)
        if threshold is None:
            threshold = OWN_THRESHOLD if self.teacher is None else float(self.teacher.threshold)
            self.hparams.update(threshold=threshold)
        read = [channels[stage] for stage in settings["student_stages"]]
        self.student: nn.Module = (
            GeneratorStudent(read, width=width)
            if student == "generator"
            else MFFStudent(read, width=width, dropout=dropout)
        )
        self.head = nn.Linear(channels[-1], num_classes) if train_head else None
        self.epochs, self.threshold = epochs, threshold

    def loss(self, images: Tensor, labels: Tensor | None = None, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)`` or None."""
        return self.distillation_loss(images, self.teach(images, labels))

    @torch.no_grad()
    def teach(self, images: Tensor, labels: Tensor | None = None) -> ClassMaps:
        """Return what the teacher finds: class scores, and a map ``(B, 1, h, w)``.

        Raises:
            ValueError: there is no teacher, or no labels with ``use_labels``.

        """
        if self.teacher is None:
            raise ValueError(
                "teacher: expected a Localizer to learn from (recipe.teacher = ...), got None"
            )
        if not self.settings.use_labels:
            return self.teacher.class_maps(images)
        if labels is None:
            raise ValueError("labels: expected int64 (B,), because use_labels is True, got None")
        return self.teacher.class_maps(images, labels)

    def distillation_loss(self, images: Tensor, found: ClassMaps) -> Tensor:
        """Return the loss of a batch for what a teacher found, now or earlier."""
        features, scores = self._features_and_scores(images)
        logits = working(self._object_logits(features))
        target = on_grid(working(found.maps[:, 0]), (logits.shape[-2], logits.shape[-1]))
        regression = F.binary_cross_entropy_with_logits(logits, target.to(logits))
        terms = {"binary_cross_entropy": regression}
        if self.head is not None or self.settings.backbone_learning_rate:
            if found.logits.shape[1] != self.num_classes:
                expected = f"teacher: expected {self.num_classes} class scores as num_classes"
                raise ValueError(f"{expected}, got {found.logits.shape[1]}")
            scores = working(scores)
            probabilities = working(found.logits).softmax(1).to(scores)
            terms["cross_entropy"] = F.cross_entropy(scores, probabilities)
        return self.total(**terms)

    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores, and the student's map, the same for all labels."""
        features, scores = self._features_and_scores(images)
        probability = self._object_logits(features).sigmoid()
        return scores, lambda labels: probability

    def _features_and_scores(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the backbone's feature maps and the class scores, from one forward pass."""
        if self.head is not None:
            features = self.backbone(images)
            return features, pooled_scores(self.head, features)
        assert isinstance(self.backbone, FeatureList)
        features, scores = self.backbone.with_logits(images)
        if scores.shape[1] != self.num_classes:
            expected = f"num_classes: expected {scores.shape[1]} as the backbone has class scores"
            raise ValueError(f"{expected}, got {self.num_classes}")
        return features, scores

    def _object_logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return the student's map ``(B, h, w)`` before the sigmoid."""
        logits: Tensor = self.student([features[stage] for stage in self.settings.student_stages])
        return logits

    def prepare(self, epoch: int) -> None:
        """Freeze the backbone, unless it has a learning rate."""
        if not self.settings.backbone_learning_rate:
            freeze(self.backbone)

    def configure_optimizers(self) -> Any:
        """Return Adam with cosine decay, by epochs."""
        optimizer = torch.optim.Adam(self.parameter_groups([self.backbone]))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: cosine(min(epoch, self.epochs), self.epochs)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def training_step(self, batch: Tensor | Sequence[Tensor], batch_index: int) -> Tensor:
        """Compute and log the loss of a batch: images alone, or images and labels."""
        images, *labels = (batch,) if isinstance(batch, Tensor) else batch
        given: Any = images, labels[0] if labels else None
        return super().training_step(given, batch_index)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the teacher apart from the modules, so that it is in no state and no optimizer."""
        if name != "teacher":
            super().__setattr__(name, value)
            return
        check_kind("teacher", value, (Localizer, type(None)), "a Localizer or None")
        if value is not None:
            self._check_teacher(value)
        self.__dict__["teacher"] = value
        self.hparams.update(teacher=None)  # nor is one of that name the teacher any more

    def _check_teacher(self, teacher: Localizer) -> None:
        if not teacher.regions:
            raise ValueError(f"teacher: expected maps of objects, got edges ({teacher.method})")
        rate = self.settings.backbone_learning_rate
        frozen = set() if rate else {id(p) for p in self.backbone.parameters()}
        trained = {id(p) for p in self.parameters()} - frozen
        if not trained.isdisjoint(id(p) for p in teacher.parameters()):
            raise ValueError(
                "teacher: expected weights that the recipe does not train "
                f"(backbone_learning_rate={rate}), got {teacher.method} on some of them"
            )

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move or convert the teacher with the recipe."""
        if self.teacher is not None:
            self.teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


def _classifier(expected: str, backbone: nn.Module, got: object) -> FeatureList:
    if not isinstance(backbone, FeatureList):
        kind = type(backbone).__name__
        why = f"because the backbone is a {kind}, not the FeatureList of a classifier"
        raise ValueError(f"{expected}, {why}, got {got!r}")
    return backbone


def _localizer(backbone: nn.Module, method: str) -> Localizer:
    """Return a localizer on the classifier of the backbone."""
    found = _classifier("teacher: expected a Localizer", backbone, method)
    return Localizer(found.model, refine=method, call=found.call, logits=found.logits)
