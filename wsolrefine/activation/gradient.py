"""Where gradients of the logits start, and the layer for Grad-CAM.

That is the last map of the image through which the logits are computed.
"""

from __future__ import annotations

import re
from itertools import chain

import torch
from torch import Tensor, nn

from wsolrefine.activation.hooks import Hook, capture, hooked, output_tensor, replaced
from wsolrefine.activation.probe import Probe
from wsolrefine.activation.stages import Stages
from wsolrefine.activation.used import probed_logits


class GraphStart:
    """Hooks that start a graph at the first of some layers, and keep the outputs of all of them.

    Only what follows is differentiated: frozen weights do not matter, and the layers before cost no
    memory.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}  # in running order

    def hook(self, name: str) -> Hook:
        """Return the hook for the layer of that name, to be used under ``no_grad``."""

        def start(module: nn.Module, args: object, kwargs: object, output: object) -> object:
            torch.set_grad_enabled(True)  # the no_grad around the model restores it
            tensor = output_tensor(name, output)
            inside = bool(self.tensors) and tensor.requires_grad  # in the graph of a layer before
            # The model continues with a copy: unlike a leaf, it may be changed in place.
            kept = tensor if inside else tensor.detach().requires_grad_()
            copied = replaced(output, tensor, kept.clone())
            if copied is None and not inside:
                kept = tensor.requires_grad_()
            self.tensors[name] = kept
            return copied  # None keeps the output

        return start


def is_refused(error: RuntimeError) -> bool:
    """Return whether an operation is refused because of a graph: in place, without derivative."""
    words = r"\bin-?place\b|\brequires? grad\b|\bderivative\b"
    return re.search(words, str(error)) is not None


def refused(name: str, error: RuntimeError) -> ValueError:
    """Return the error that names the first layer for whose gradient autograd refused."""
    return ValueError(
        "layers: expected a layer for gradients that autograd can start at (the model changes "
        f"tensors in place after it, or takes them out of autograd), got {name!r}: {error}"
    )


def check_differentiable(model: nn.Module) -> None:
    """Raise if autograd cannot use the weights, because they were made under inference_mode."""
    named = chain(model.named_parameters(), model.named_buffers())
    name = next((name for name, tensor in named if tensor.is_inference()), None)
    if name is not None:
        raise ValueError(
            "model: expected weights that gradients can go through (build or load the model "
            f"outside of torch.inference_mode()), got an inference tensor {name!r}"
        )


def last_with_gradient(probe: Probe, stages: Stages) -> str:
    """Return the layer on the last grid at which Grad-CAM of the logits is possible.

    The outermost layer, if the logits use the tensor that it returns. If they use another one (a
    wrapper may return a pooled vector beside the map), the outermost layer inside for which they
    do. If they do not depend on it at all, as on the final patch tokens of a class-token
    transformer, the layer that follows on the last block on which they do: the normalization before
    the last attention.
    """
    check_differentiable(probe.model)
    best = stages.last
    like = [one for one in stages.maps if (one.size, one.channels) == (best.size, best.channels)]
    names = [one.name for one in like]
    reached = _reached(probe, names)
    if best.name in reached:
        # The outermost first, and of those the last.
        inside = sorted(like, key=lambda one: (stages.depth(one), -names.index(one.name)))
        order = [best.name, *(one.name for one in inside if one.name.startswith(f"{best.name}."))]
    else:
        blocks = [name for name in names if name in reached and _is_block(probe.model, name)]
        after = names[names.index(blocks[-1]) + 1 :] if blocks else []
        following = [name for name in after if name in reached][:1]
        order = [name for name in following if not _is_projection(probe.model, name)]
        order += reversed(blocks)
    for name in dict.fromkeys([*order, *reversed(names)]):
        if name in reached and _starts_a_graph(probe, name):
            return name
    raise ValueError(
        f"model: expected logits that depend on a layer with a grid, got {_why(probe)}"
    )


def _reached(probe: Probe, names: list[str]) -> set[str]:
    """Return the layers whose maps the logits depend on."""
    images = probe.noise[: probe.count].clone().requires_grad_()
    with torch.enable_grad(), capture(probe.model, *names) as outputs:
        score = probed_logits(probe, images).amax()
    known = [name for name in names if name in outputs and outputs[name].requires_grad]
    if not known or not score.requires_grad:
        return set()
    tensors = [outputs[name] for name in known]
    gradients = torch.autograd.grad(score, tensors, allow_unused=True)
    return {name for name, g in zip(known, gradients, strict=True) if _is_seen(probe, g)}


def _starts_a_graph(probe: Probe, name: str) -> bool:
    """Return whether the logits depend on what the layer returns, from there on."""
    start = GraphStart()
    try:
        with torch.no_grad(), hooked(probe.model, [(name, start.hook(name))]):
            score = probed_logits(probe, probe.noise[: probe.count]).amax()
        if name not in start.tensors or not score.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(score, start.tensors[name], allow_unused=True)
    except RuntimeError as error:
        if is_refused(error):
            return False
        raise
    return _is_seen(probe, gradient)


def _is_seen(probe: Probe, gradient: Tensor | None) -> bool:
    maps = None if gradient is None else probe.read(gradient)
    return maps is not None and bool(maps.any())


def _is_block(model: nn.Module, name: str) -> bool:
    module = model.get_submodule(name)
    weighted = [m for m in module.modules() if next(m.parameters(False), None) is not None]
    return len([m for m in weighted if m is not module]) > 1


def _is_projection(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name), (nn.Linear, nn.Conv1d, nn.Conv2d))


def _why(probe: Probe) -> str:
    for name in probe.heads:
        weight = getattr(probe.model.get_submodule(name), "weight", None)
        if isinstance(weight, Tensor) and not weight.any():
            return f"a head {name!r} whose weights are all zero (is the model trained?)"
    return "none"
