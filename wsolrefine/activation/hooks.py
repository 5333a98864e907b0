"""Hooks on the layers of any model, and what they read of an output."""

from __future__ import annotations

import copy
import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from wsolrefine.activation.modes import check_model, uncompiled

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]


@contextmanager
def capture(model: nn.Module, *layers: str) -> Iterator[dict[str, Tensor]]:
    """Keep the outputs of named layers while the model runs inside the ``with`` block.

    The hooks are removed after the block, even if the model raises. Of a tuple, list or mapping the
    first tensor is kept, of a layer that runs twice the last output. The tensors are the ones that
    the model computed, neither copied nor detached: a later in-place operation changes them. A
    compiled model runs uncompiled inside the block (torch >= 2.6). Only forward passes of the
    thread that entered the block are seen.

    Args:
        model: any module.
        *layers: names from ``model.named_modules()``.

    Yields:
        A dict from layer name to output, filled as the layers run.

    Raises:
        TypeError: an output of one of the layers contains no tensor.
        ValueError: there is no layer of that name, or a ``DataParallel`` of several devices would
            run the layers in threads of its own: capture layers of its ``.module``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> with capture(model, "0") as outputs:
        ...     _ = model(torch.rand(2, 3, 7, 5))
        >>> outputs["0"].shape
        torch.Size([2, 8, 5, 3])

    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            outputs[name] = output_tensor(name, output)

        return hook

    with hooked(model, [(name, keep(name)) for name in layers]):
        yield outputs


def submodule(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name, or raise and suggest the closest name."""
    with suppress(AttributeError, TypeError):  # quick, where a walk through all modules is not
        return model.get_submodule(name)
    return _named(dict(model.named_modules(remove_duplicate=False)), name)


def _named(modules: dict[str, nn.Module], name: str) -> nn.Module:
    if not isinstance(name, str) or name not in modules:
        close = difflib.get_close_matches(str(name), modules, n=1)
        hint = f" (close: {close[0]!r})" if close else ""
        raise ValueError(f"layers: expected names from model.named_modules(), got {name!r}{hint}")
    return modules[name]


@contextmanager
def hooked(model: nn.Module, hooks: Sequence[tuple[str, Hook]]) -> Iterator[None]:
    """Attach forward hooks by layer name; remove them at the end, even after an error.

    They are called in forward passes of this thread only.
    """
    check_model(model)
    # Once, because a walk takes as long as some layers, and a probe hooks every layer.
    modules = dict(model.named_modules(remove_duplicate=False))
    check_one_thread(modules.values())
    targets = [(_named(modules, name), _of_this_thread(hook)) for name, hook in hooks]
    with ExitStack() as stack:
        stack.enter_context(uncompiled(modules.values()))
        for module, hook in targets:
            stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


def _of_this_thread(hook: Hook) -> Callable[..., Any]:
    """Return a hook that does nothing in other threads, which may run the same model."""
    thread = threading.get_ident()

    def run(*seen: Any) -> Any:
        # In another thread it may be called without kwargs, while torch registers or removes it.
        return hook(*seen) if threading.get_ident() == thread else None

    return run


def check_one_thread(modules: Iterable[nn.Module]) -> None:
    """Raise if one of a model's modules runs it in threads, each on a part of the batch."""
    for module in modules:
        devices = len(module.device_ids) if isinstance(module, nn.DataParallel) else 0
        if devices > 1:
            raise ValueError(
                "model: expected one that runs in this thread (the .module of a DataParallel), "
                f"got a DataParallel on {devices} devices"
            )


def first_tensor(value: Any) -> Tensor | None:
    """Return a tensor, or the first one in a tuple, list or mapping; None if there is none."""
    if isinstance(value, Tensor):
        return value
    values = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (tuple, list, Mapping)):
        return next((item for item in values if isinstance(item, Tensor)), None)
    return None


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the first tensor that a layer was called with, by position or by name."""
    tensor = first_tensor(args)
    return tensor if tensor is not None else first_tensor(kwargs)


def output_tensor(name: str, output: Any) -> Tensor:
    """Return the first tensor of a layer's output, or raise."""
    tensor = first_tensor(output)
    if tensor is None:
        kind = type(output).__name__
        raise TypeError(f"layers: expected an output that holds a tensor, got {kind} from {name!r}")
    return tensor


def with_tensor(name: str, output: Any, tensor: Tensor) -> Any:
    """Return a layer's output with ``tensor`` instead of its first tensor, or raise."""
    if not isinstance(output, Tensor) and type(output) not in (tuple, list):
        kind = type(output).__name__
        raise TypeError(
            f"layer: expected a tensor, or a tuple or list with one, from {name!r}, got {kind}"
        )
    return replaced(output, output_tensor(name, output), tensor)


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """Return a copy of a layer's output with ``new`` wherever it holds the tensor ``old``.

    None if the output is of a kind that cannot be copied.
    """
    try:
        return _copied(output, old, new)
    except Exception:  # a container whose class asks for other arguments, or that takes no items
        return None


def _copied(value: Any, old: Tensor, new: Tensor) -> Any:
    if value is old:
        return new
    if isinstance(value, Mapping):
        table: Any = copy.copy(value)
        for key, item in value.items():
            table[key] = _copied(item, old, new)
        for name, item in vars(table).items() if hasattr(table, "__dict__") else ():
            if item is old:  # an attribute beside the key, as in a ModelOutput
                setattr(table, name, new)
        return table
    if isinstance(value, (tuple, list)):
        items = [_copied(item, old, new) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
