"""Whether a graph is being made, in which nothing may depend on values or on the batch."""

from __future__ import annotations

import torch

LOOPS = hasattr(torch, "while_loop")
"""Whether a graph can hold a loop."""


def in_graph() -> bool:
    """Return whether a graph is recorded: by torch.compile, torch.export or torch.jit.trace."""
    return torch.compiler.is_compiling() or in_trace()


def in_trace() -> bool:
    """Return whether torch.jit.trace records, which knows no loops."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def in_transform() -> bool:
    """Return whether a transform of torch.func is active, such as vmap or grad."""
    # torch has no public name for it, and compilers of versions without loops cannot trace it.
    if not LOOPS and torch.compiler.is_compiling():
        return False
    return bool(torch._C._are_functorch_transforms_active())


def values_are_hidden() -> bool:
    """Return whether values cannot be read: a graph is recorded or a transform is active."""
    return in_graph() or in_transform()
