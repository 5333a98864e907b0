"""One forward pass of a classifier, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call, call_model
from wsolrefine.activation.gradient import GraphStart, check_differentiable, is_refused, refused
from wsolrefine.activation.heads import Heads, classes_of
from wsolrefine.activation.hooks import Hook, first_input, first_tensor, hooked, output_tensor
from wsolrefine.activation.layers import Layers
from wsolrefine.activation.outputs import Logits, logits_of, scores_in


class Run:
    """One forward pass: outputs of the named layers, and inputs of the CAM layer and the head.

    Two, where only all linear layers tell which of several outputs the logits are.

    Gradients are off until the first layer whose gradient is needed: that of Grad-CAM, and with
    LayerCAMs or BagCAMs those of some features. There the graph starts, so that this works with
    frozen weights and under ``no_grad``, and the layers before cost no memory.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        layers: Layers,
        logits: Logits | None,
        call: Call | None,
        differentiated: Sequence[str],
    ) -> None:
        features, cam, head = layers
        self._found: dict[str, Tensor] = {}
        self.cam_input: Tensor | None = None
        run = partial(self._pass, model, images, layers, call, differentiated)
        heads = Heads(model, head)
        output = run(heads)
        if not heads.all_watched and logits is None and len(scores_in(output, len(images))) > 1:
            # Which of several outputs the logits are, only all linear layers together tell.
            heads = Heads(model)
            output = run(heads)
        self.logits = logits_of(output, len(images), logits, heads, classes_of(model))
        if head is None and cam in self.graph:
            self._found["cam"] = self.graph[cam]
        self.features = [self._get(f"features {name}", name) for name in features]
        self.cam = self._get("cam", cam)
        # The head's input; not used without a head.
        self.pooled = self.cam if head is None else self._get("pooled", head)

    def _pass(
        self,
        model: nn.Module,
        images: Tensor,
        layers: Layers,
        call: Call | None,
        differentiated: Sequence[str],
        heads: Heads,
    ) -> Any:
        """Run the model and return its output."""
        features, cam, head = layers
        start = GraphStart()
        self.graph = start.tensors
        hooks = [(name, self._keep(name)) for name in features] + heads.hooks
        if head is not None:
            hooks += [(cam, self._watch_cam), (head, self._watch_head)]
        starts = dict.fromkeys([*differentiated, *((cam,) if head is None else ())])
        hooks += [(name, start.hook(name)) for name in starts]
        try:
            with torch.no_grad(), hooked(model, hooks):
                return call_model(model, images, call)
        except RuntimeError as error:
            if start.tensors:
                check_differentiable(model)  # which takes long, so only now
            if not start.tensors or not is_refused(error):
                raise
            raise refused(next(iter(start.tensors)), error) from error

    def _get(self, key: str, name: str) -> Tensor:
        if key not in self._found:
            raise _did_not_run(name)
        return self._found[key]

    def _keep(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            # A copy: an in-place operation may follow.
            self._found[f"features {name}"] = output_tensor(name, output).detach().clone()

        return hook

    def _watch_cam(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        tensor, source = first_tensor(output), first_input(args, kwargs)
        self.cam_input = None if source is None else source.detach()
        if tensor is not None:
            self._found["cam"] = tensor.detach()

    def _watch_head(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        source = first_input(args, kwargs)
        if source is not None:
            self._found["pooled"] = source.detach().flatten(1)


def _did_not_run(name: str) -> ValueError:
    return ValueError(f"layers: expected a layer that the model runs, got {name!r}")
