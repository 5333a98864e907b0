"""The linear layers of a forward pass that return vectors: one of them makes the logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.hooks import Hook, first_input, first_tensor


class Head(NamedTuple):
    """Input ``(B, C)`` and output ``(B, n)`` of a linear layer."""

    name: str
    module: nn.Module
    source: Tensor
    result: Tensor


class Heads:
    """Hooks that keep what the linear layers of a model read and returned, in running order."""

    def __init__(self, model: nn.Module) -> None:
        self.found: list[Head] = []
        self.hooks = [
            (name, self._note(name))
            for name, module in model.named_modules()
            if name and isinstance(module, (nn.Linear, nn.Conv2d))
        ]

    def last(self, tensor: Tensor) -> int | None:
        """Return the position of the last layer that returned these values."""
        for at in reversed(range(len(self.found))):
            if _same(self.found[at].result, tensor):
                return at
        return None

    def reads(self, at: int | None, tensor: Tensor) -> bool:
        """Return whether the layer at a position read these values."""
        return at is not None and _same(self.found[at].source, tensor)

    def _note(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            source, result = first_input(args, kwargs), first_tensor(output)
            if source is None or result is None or not _is_vector(result):
                return
            # Copies: an in-place operation may follow.
            source, result = source.detach().flatten(1).clone(), result.detach().flatten(1).clone()
            self.found.append(Head(name, module, source, result))

        return hook


def _is_vector(tensor: Tensor) -> bool:
    return tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1))


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.isclose(one, other.detach(), rtol=0, atol=0, equal_nan=True).all())
