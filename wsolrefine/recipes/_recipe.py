"""The common class of the recipes: localization and training."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_counts, check_kind
from wsolrefine.activation.labels import Labels, choose_labels, zero_where_none
from wsolrefine.activation.modes import evaluation
from wsolrefine.localization import Localization
from wsolrefine.localization.class_maps import ClassMaps
from wsolrefine.localization.localizer import Localizer
from wsolrefine.recipes._schedule import two_rates
from wsolrefine.recipes._settings import MOST_CHANNELS

if TYPE_CHECKING:
    from wsolrefine.recipes.metadata import RecipeMetadata

MapsOf = Callable[[Tensor], Tensor]
"""Labels ``(B,)`` -> the map ``(B, h, w)`` in [0, 1] of each image's label."""


class Recipe(Localizer, LightningModule):
    """The training of a method, as a Lightning module and a :class:`wsolrefine.Localizer`.

    ``recipe(images)`` returns a :class:`wsolrefine.Localization`, like any localizer. The epoch
    determines the phase of the training, so one ``fit`` and one checkpoint are enough. Subclasses
    define ``name``, ``epochs`` and ``threshold``, and implement :meth:`loss`, :meth:`activate` and
    ``configure_optimizers``.

    Attributes:
        name: name of the recipe for ``wsolrefine train``.
        epochs: total number of epochs of all phases.
        threshold: ``maps > threshold`` is the mask.
        metadata: header of the file from which the recipe was loaded; None if it was not loaded.

    """

    name: str = ""
    epochs: int
    metadata: RecipeMetadata | None = None

    def __init__(
        self,
        backbone: nn.Module,
        channels: Sequence[int],
        num_classes: int,
        **hyper_parameters: Any,
    ) -> None:
        check_kind("backbone", backbone, nn.Module, "an nn.Module")
        check_counts("channels", channels)
        # Of one class the cross entropy is 0 whatever the weights are: nothing would be learned.
        check_count("num_classes", num_classes, low=2, high=MOST_CHANNELS)
        # Not Localizer.__init__, because a recipe is its own model.
        LightningModule.__init__(self)
        self.backbone = backbone
        self.num_classes = num_classes
        self._terms: dict[str, Tensor] = {}
        self.method, self.parts = self.name, "largest"
        self.preprocess, self.class_names = None, None

    @property
    def model(self) -> nn.Module:  # type: ignore[override]
        """The recipe itself."""
        return self

    @property
    def settings(self) -> Any:
        """The hyper-parameters by name."""
        return self.hparams

    @property
    def title(self) -> str:
        """The recipe and its backbone, for reports."""
        if self.metadata is None:
            return f"recipe {self.name}"
        return f"recipe {self.name} on {self.metadata.backbone}, {', '.join(self.metadata.layers)}"

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, *, epoch: int) -> Tensor:
        """Return the loss of a batch: images ``(B, 3, H, W)``, labels int64 ``(B,)``."""

    @abstractmethod
    def activate(self, images: Tensor) -> tuple[Tensor, MapsOf]:
        """Return class scores ``(B, num_classes)``, and a function from labels to maps."""

    def prepare(self, epoch: int) -> None:
        """Freeze what is not trained in the phase of this epoch; call it before each epoch."""

    def total(self, **terms: Tensor) -> Tensor:
        """Return the sum of the terms of a loss; the names are for the message if one is NaN."""
        self._terms = {name: term.detach() for name, term in terms.items()}
        return reduce(add, terms.values())

    def user_modules(self) -> Mapping[str, nn.Module]:
        """Return the user's networks by name; a file of the recipe cannot contain them."""
        return {}

    def class_maps(self, images: Tensor, labels: Labels | None = None, top: int = 1) -> ClassMaps:
        """Return class scores and maps, see :meth:`wsolrefine.Localizer.class_maps`."""
        check_tensors(images=(images, "B 3 H W"))
        with torch.no_grad(), evaluation(self):
            logits, maps_of = self.activate(images)
            columns = choose_labels(logits, labels, top)
            present = columns.clamp_min(0)
            maps = torch.stack([maps_of(column) for column in present.T], 1)
        return ClassMaps(logits, columns, zero_where_none(maps, columns))

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_index: int) -> Localization:
        """Localize objects in a batch of images, or in the images of ``(images, labels)``."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        found: Localization = self(images)
        return found

    def training_step(self, batch: Sequence[Tensor], batch_index: int) -> Tensor:
        """Compute and log the loss of a batch.

        Raises:
            FloatingPointError: the loss is NaN or infinite. A trainer stops, before the optimizer
                changes a weight.

        """
        images, labels = batch
        loss = self.loss(images, labels, epoch=self.current_epoch)
        if not loss.isfinite():
            raise FloatingPointError(self._not_finite(loss, batch_index))
        self.log("loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def on_train_epoch_start(self) -> None:
        """Freeze what is not trained in the phase of this epoch."""
        self.prepare(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Check the weights and the optimizer, before a checkpoint is written.

        Raises:
            FloatingPointError: a weight, a statistic or a value of the optimizer is not finite.

        """
        found = not_finite(self._weights()) or not_finite(self._optimizer_state())
        if found is not None:
            name, value = found
            raise FloatingPointError(
                f"{self.name}: expected finite weights after epoch {self.current_epoch + 1}, got "
                f"{value} in {name}"
            )

    def _not_finite(self, loss: Tensor, batch_index: int) -> str:
        place = f"in epoch {self.current_epoch + 1}, step {batch_index + 1}"
        wrong = not_finite(self._terms)
        term = "" if wrong is None else f" ({wrong[0]})"
        return f"{self.name}: expected a finite loss, got {loss.item()} {place}{term}"

    def _weights(self) -> dict[str, Tensor]:
        """Return all weights and statistics; other buffers may hold infinity, as masks do."""
        return {
            name: value
            for name, value in self.state_dict(keep_vars=True).items()
            if isinstance(value, nn.Parameter) or name.endswith(("running_mean", "running_var"))
        }

    def _optimizer_state(self) -> dict[str, Tensor]:
        """Return what the optimizers keep of each parameter, such as its momentum."""
        names = {id(parameter): name for name, parameter in self.named_parameters()}
        return {
            f"{key} of {names.get(id(parameter), 'a parameter')}": value
            for optimizer in self.trainer.optimizers
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
            if isinstance(value, Tensor)
        }

    def parameter_groups(self, pretrained: Iterable[nn.Module]) -> list[dict[str, Any]]:
        """Return two groups of parameters: pretrained modules, with a lower rate, and the rest."""
        settings = self.settings
        return two_rates(self, pretrained, settings.backbone_learning_rate, settings.learning_rate)

    def sgd(self, pretrained: Iterable[nn.Module]) -> torch.optim.Optimizer:
        """Return SGD with the learning rates, momentum and weight decay of the recipe."""
        settings = self.settings
        return torch.optim.SGD(
            self.parameter_groups(pretrained),
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )


def not_finite(tensors: Mapping[str, Tensor]) -> tuple[str, float] | None:
    """Return the name of the first tensor with a value that is not finite, and the value.

    Example:
        >>> not_finite({"head.weight": torch.ones(2), "head.bias": torch.tensor([1, torch.inf])})
        ('head.bias', inf)

    """
    for name, tensor in tensors.items():
        finite = tensor.isfinite()  # of integers too
        if not finite.all():
            return name, tensor[~finite][0].item()
    return None


def map_of(class_maps: Tensor, labels: Tensor) -> Tensor:
    """Select the map ``(B, h, w)`` of each image's label from class maps ``(B, K, h, w)``."""
    index = labels[:, None, None, None].expand(-1, 1, *class_maps.shape[2:])
    return class_maps.gather(1, index)[:, 0]
