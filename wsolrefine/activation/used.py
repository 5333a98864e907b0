"""Which layers the logits are computed from: those of a decoder beside the classifier are not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from wsolrefine.activation.calling import call_model
from wsolrefine.activation.graph import nodes_behind
from wsolrefine.activation.heads import Heads, classes_of
from wsolrefine.activation.hooks import Hook, first_tensor, hooked
from wsolrefine.activation.outputs import logits_of
from wsolrefine.activation.probe import Probe


def probed_logits(probe: Probe, images: Tensor) -> Tensor:
    """Return the logits for images, read as in the probe, with the graph if there is one."""
    heads = Heads(probe.model)
    with hooked(probe.model, heads.hooks):
        output = call_model(probe.model, images, probe.call)
    return logits_of(output, len(images), probe.how, heads, classes_of(probe.model))


def unused_layers(probe: Probe) -> set[str]:
    """Return the layers of which no output leads to the logits; some run more than once.

    One pass records the graph of autograd, through which nothing is differentiated. Of what it does
    not record, as under a ``no_grad`` inside the model, nothing is known: it is not returned. If
    the model does not run with autograd, or no map is known to lead to the logits, nothing is.
    """
    recorded: dict[str, list[tuple[Node, Tensor | None]]] = {}

    def note(name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.grad_fn is not None:
                # A view gets another node when it is changed in place later.
                view = tensor if tensor._is_view() else None
                recorded.setdefault(name, []).append((tensor.grad_fn, view))

        return hook

    images = probe.noise[: probe.count].clone().requires_grad_()
    try:
        with torch.enable_grad(), hooked(probe.model, [(name, note(name)) for name in probe.ran]):
            logits = probed_logits(probe, images)
    except Exception:  # as for weights that were made under inference_mode
        return set()
    reached = nodes_behind(logits.grad_fn)
    known = {
        name: any(
            n in reached or (view is not None and view.grad_fn in reached) for n, view in runs
        )
        for name, runs in recorded.items()
    }
    if not any(known.get(name, False) for name in probe.outputs):
        return set()
    return {name for name, used in known.items() if not used}
