"""Say which weights or which layer make the logits of a model NaN or infinite."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call, call_model
from wsolrefine.activation.hooks import Hook, first_tensor, hooked


def check_weights(model: nn.Module) -> None:
    """Raise if a parameter or buffer holds NaN or infinity, and name it.

    Minus infinity in a buffer or a bias may be a mask.
    """
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if not tensor.is_floating_point():
            continue
        is_mask = tensor.ndim == 1 or not isinstance(tensor, nn.Parameter)
        if has_nan(tensor) or not (is_mask or tensor.isfinite().all()):
            raise ValueError(f"model: expected finite weights, got NaN or infinity in {name!r}")


def check_logits_of_noise(
    model: nn.Module, noise: Tensor, logits: Tensor, call: Call | None
) -> None:
    """Raise if logits ``(B, num_classes)`` of noise are not finite, and name the weights or layer.

    Minus infinity is allowed for some classes: a mask rules them out.
    """
    if not has_nan(logits) and bool(logits.isfinite().any(1).all()):
        return
    check_weights(model)
    first = _first_layer(model, noise, call)
    place = f", first from layer {first!r}" if first is not None else ""
    raise ValueError(f"model: expected finite logits of noise, got NaN or infinity{place}")


def has_nan(tensor: Tensor) -> bool:
    """Return whether a value is NaN or plus infinity, which no mask explains."""
    return bool((tensor.isnan() | tensor.isposinf()).any())


def _first_layer(model: nn.Module, images: Tensor, call: Call | None) -> str | None:
    """Return the first layer to return a tensor that is not finite."""
    found: list[str] = []

    def note(name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if not found and tensor is not None and not tensor.isfinite().all():
                found.append(name)

        return hook

    hooks = [(name, note(name)) for name, _ in model.named_modules() if name]
    with torch.no_grad(), hooked(model, hooks):
        call_model(model, images, call)
    return found[0] if found else None
