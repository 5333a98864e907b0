"""A forward pass with all choices made, so that a graph of it can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.averaged import Reading, place_of_mean, readings
from wsolrefine.activation.calling import Call, call_model
from wsolrefine.activation.forward import head_weight
from wsolrefine.activation.heads import Heads, classes_of
from wsolrefine.activation.hooks import (
    Hook,
    first_input,
    first_tensor,
    hooked,
    output_tensor,
    submodule,
)
from wsolrefine.activation.layers import Layers
from wsolrefine.activation.layout import laid_out
from wsolrefine.activation.modes import evaluation
from wsolrefine.activation.outputs import Logits, logits_of, scores_in


class Fixed(NamedTuple):
    """What one pass gives.

    Attributes:
        logits: ``(B, num_classes)``.
        averaged: the map that the head averages, ``(B, C, h, w)``.
        weight: what weights it for each class, ``(num_classes, C)`` or ``(num_classes, C, 1, 1)``.
        features: of each layer, ``(B, C, h, w)``.

    """

    logits: Tensor
    averaged: Tensor
    weight: Tensor
    features: list[Tensor]


class FixedPass:
    """The forward pass of :func:`wsolrefine.class_activation` without a look at any value.

    Which tensor holds the logits, and which map the head averages, is found by comparing values. A
    graph has none while it is recorded, so a first pass on some images decides it once.

    Args:
        model: a classifier.
        images: ``(B, C, H, W)``.
        layers: those of the classifier.
        to_map: see :func:`wsolrefine.find_layers`.
        logits: see :func:`wsolrefine.find_layers`.
        call: see :func:`wsolrefine.find_layers`.

    Raises:
        ValueError: the head does not average a map, so that the CAM would need gradients.

    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        layers: Layers,
        *,
        to_map: Callable[[Tensor], Tensor] | None,
        logits: Logits | None,
        call: Call | None,
    ) -> None:
        self.model, self.layers, self.to_map = model, layers, to_map
        self.how, self.call = logits, call
        self.size = (images.shape[-2], images.shape[-1])
        self._tensors: dict[str, Tensor | None] = {}
        heads = Heads(model)
        output = self._run(images, heads.hooks)
        chosen = logits_of(output, images.shape[0], logits, heads, classes_of(model))
        same = (torch.equal(one, chosen) for one in scores_in(output, images.shape[0]))
        self._place = list(same).index(True) if logits is None else None
        self._mean = self._place_of_mean(chosen)

    def __call__(self, images: Tensor) -> Fixed:
        """Run the model on images of the same size, in batches of any length."""
        output = self._run(images)
        if self._place is None:
            logits = logits_of(output, images.shape[0], self.how, Heads(nn.Module()), None)
        else:
            logits = scores_in(output, images.shape[0])[self._place]
        averaged = self._readings()[self._mean].values()
        features = [
            laid_out(name, tensor, self.size, self.to_map)
            for name, tensor in ((name, self._tensors[name]) for name in self.layers.features)
            if tensor is not None
        ]
        if self.layers.head is None:  # the mean of a map is the score of its class
            weight = torch.eye(averaged.shape[1], dtype=averaged.dtype, device=averaged.device)
        else:
            head: Any = submodule(self.model, self.layers.head)
            weight = head.weight.detach().to(averaged.dtype)
        self._tensors = {}
        return Fixed(logits, averaged, weight, features)

    def _readings(self) -> list[Reading]:
        found = self._tensors
        return readings(found["cam output"], found["cam input"], self.to_map, self.size)

    def _place_of_mean(self, logits: Tensor) -> int:
        """Return which of the readings of the CAM's layer the head averages, or raise."""
        pooled = logits if self.layers.head is None else self._tensors["pooled"]
        if self.layers.head is not None:
            head_weight(self.model, self.layers.head)  # raises if it is none
        maps = self._readings()
        # Without a head the CAM is that of the layer's output, which is the first.
        at = None if pooled is None else place_of_mean(maps, pooled)
        if at is None or (self.layers.head is None and at > 0):
            raise ValueError(
                "model: expected one whose head averages a map, so that its CAM takes no "
                f"gradients, got one with Grad-CAM at {self.layers.cam!r}"
            )
        return at

    def _run(self, images: Tensor, hooks: Sequence[tuple[str, Hook]] = ()) -> Any:
        """Run the model; keep the features, and input and output of the CAM's layer."""
        layers = self.layers
        own = [(name, self._keep(name)) for name in layers.features]
        own.append((layers.cam, self._watch_cam))
        if layers.head is not None:
            own.append((layers.head, self._watch_head))
        with torch.no_grad(), evaluation(self.model), hooked(self.model, [*own, *hooks]):
            return call_model(self.model, images, self.call)

    def _keep(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            # A copy: an in-place operation may follow.
            self._tensors[name] = output_tensor(name, output).clone()

        return hook

    def _watch_cam(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self._tensors["cam output"] = first_tensor(output)
        self._tensors["cam input"] = first_input(args, kwargs)

    def _watch_head(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        source = first_input(args, kwargs)
        self._tensors["pooled"] = None if source is None else source.flatten(1)
