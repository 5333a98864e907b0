"""Put back what a model changes in itself when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put buffers and attributes of all modules back after the block, even after an error.

    Some models update a running mean or a counter in evaluation mode too. Of tensors, both the
    values and the identity come back. A module that builds layers or parameters of its own when it
    first runs is left as it has built itself; what lists and dicts hold is not put back.
    """
    states = [_State(module) for module in model.modules()]
    try:
        yield
    finally:
        for state in states:
            state.restore()


class _State:
    def __init__(self, module: nn.Module) -> None:
        self.module, self.built = module, _built(module)
        self.buffers, self.attributes = dict(module._buffers), _attributes(module)
        tensors = [*self.buffers.values(), *self.attributes.values()]
        # Parameters are not among them: without these, a model is small.
        self.copies = [
            (tensor, tensor.detach().clone())
            for tensor in tensors
            if isinstance(tensor, Tensor) and not is_lazy(tensor)
        ]

    def restore(self) -> None:
        if _built(self.module) != self.built:
            return
        _put_back(self.module._buffers, self.buffers)
        _put_back(vars(self.module), self.attributes)
        for tensor, copy in self.copies:
            if not _equal(tensor.detach(), copy):
                with torch.inference_mode(tensor.is_inference()), torch.no_grad():
                    if tensor.shape != copy.shape:
                        tensor.data = copy
                    else:
                        tensor.copy_(copy)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes but for its mode, which other threads may set."""
    attributes = dict(vars(module))
    attributes.pop("training", None)  # a compiled module has none of its own
    return attributes


def _built(module: nn.Module) -> tuple[Any, ...]:
    """Return what tells whether a module has built layers or parameters."""
    tensors: list[Any] = [*module._parameters.values(), *module._buffers.values()]
    lazy = any(is_lazy(tensor) for tensor in tensors)
    return type(module), lazy, list(module._modules), list(module._parameters)


def _put_back(table: dict[str, Any], before: dict[str, Any]) -> None:
    for name in table.keys() - before.keys() - {"training"}:
        table.pop(name, None)
    # What changed alone: another thread may run the model.
    table.update({name: value for name, value in before.items() if table.get(name) is not value})


def _equal(tensor: Tensor, copy: Tensor) -> bool:
    try:
        return torch.equal(tensor, copy)
    except (RuntimeError, NotImplementedError):  # sparse tensors, and others without comparison
        return False
