"""The mode that a model runs in: evaluation, and uncompiled.

Modes belong to the model, and several threads may run it at the same time: the first one switches,
and the last one switches back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from wsolrefine._options import kind_of

_lock = threading.RLock()
_evaluated: dict[int, tuple[int, bool]] = {}  # of a module by id: blocks it is in, its own mode
_eager = ExitStack()
_uncompiled = 0  # blocks that run uncompiled


def check_model(model: nn.Module) -> None:
    """Raise unless ``model`` is a module: a :class:`wsolrefine.Classifier` holds one."""
    if not isinstance(model, nn.Module):
        kind = kind_of(model)
        hint = ", use its .model" if hasattr(model, "model") else ""
        raise TypeError(f"model: expected an nn.Module, got {kind}{hint}")
    if isinstance(model, torch.jit.ScriptModule):  # it takes no hooks, or does not call them
        kind = type(model).__name__
        raise TypeError(
            f"model: expected an nn.Module that is neither scripted nor traced, got {kind}"
        )


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and each back into its own mode afterwards.

    Of several blocks at the same time, nested or in threads, the last one to end does this.
    """
    check_model(model)
    modules = list(model.modules())
    # model.eval() would call overridden train() methods, which may merge weights or the like.
    with _lock:
        # Of a model that is in this mode, and that no other block has switched, nothing is to note.
        idle = not _evaluated and not any(module.training for module in modules)
        for module in () if idle else modules:
            blocks, training = _evaluated.get(id(module), (0, module.training))
            _evaluated[id(module)] = (blocks + 1, training)
            if module.training:  # assigning takes long, and most models are in this mode already
                module.training = False
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                blocks, training = (1, False) if idle else _evaluated.pop(id(module))
                if blocks > 1:
                    _evaluated[id(module)] = (blocks - 1, training)
                elif module.training != training:
                    module.training = training


@contextmanager
def uncompiled(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Run a compiled model, given by all its modules, as it was written (torch >= 2.6).

    Code that was compiled before hooks were attached would not call them.
    """
    global _uncompiled
    if not _is_compiled(modules) or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with _lock:
        if _uncompiled == 0:
            _eager.enter_context(torch.compiler.set_stance("force_eager"))
        _uncompiled += 1
    try:
        yield
    finally:
        with _lock:
            _uncompiled -= 1
            if _uncompiled == 0:
                _eager.close()


def _is_compiled(modules: Iterable[nn.Module]) -> bool:
    return any(
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
        for module in modules
    )
