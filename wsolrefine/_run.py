"""The forward pass of a class activation map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine._forward import Hook, first_input, first_tensor, hooked, logits_of, output_tensor


class Run:
    """One forward pass with what the named layers returned, and what the CAM's and head read.

    Gradients are off, except without a head: there the graph starts at the CAM layer's output, so
    that neither frozen weights nor ``no_grad`` around the call stand in its way and the layers
    before it cost no memory.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, features: Sequence[str], cam: str, head: str | None
    ) -> None:
        self._found: dict[str, Tensor] = {}
        self.cam_input: Tensor | None = None
        hooks = [(name, self._keep(name)) for name in features]
        hooks.append((cam, self._start_graph if head is None else self._watch_cam))
        if head is not None:
            hooks.append((head, self._watch_head))
        with torch.no_grad(), hooked(model, hooks):
            self.logits = logits_of(model(images))
        self.features = [self._get(f"features {name}", name) for name in features]
        self.cam = self._get("cam", cam)
        # What the head read; without a head nobody asks.
        self.pooled = self.cam if head is None else self._get("pooled", head)

    def _get(self, key: str, name: str) -> Tensor:
        if key not in self._found:
            raise _did_not_run(name)
        return self._found[key]

    def _keep(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            # A copy: an in-place operation may follow.
            self._found[f"features {name}"] = output_tensor(name, output).detach().clone()

        return hook

    def _start_graph(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        torch.set_grad_enabled(True)  # no_grad around the model ends it again
        tensor = output_tensor("cam", output)
        if output is not tensor:
            self._found["cam"] = tensor.requires_grad_()
            return output
        # The model goes on with a copy, which it may change in place as it could not a leaf.
        self._found["cam"] = tensor.detach().requires_grad_()
        return self._found["cam"].clone()

    def _watch_cam(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        tensor = first_tensor(output)
        self.cam_input = first_input(args, kwargs)
        if tensor is not None:
            self._found["cam"] = tensor

    def _watch_head(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        source = first_input(args, kwargs)
        if source is not None:
            self._found["pooled"] = source.flatten(1)


def _did_not_run(name: str) -> ValueError:
    return ValueError(f"layers: expected a layer that the model runs, got {name!r}")
