"""Whether the layers of a module form a chain, of which it returns the end."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from wsolrefine.activation.passes import Pass, Seen


def is_chain(name: str, one: Pass) -> bool:
    """Return whether each layer of a module read what the one before returned.

    Then an earlier layer of it is as whole as the module. In a block with a residual or attention,
    it is a fragment.
    """
    inside = _children(name, one.outputs)
    if not inside:
        return False
    returned = [one.outputs[child] for child in inside]
    read = [*(one.inputs.get(child) for child in inside[1:]), one.outputs[name]]
    return all(_same(before, after) for before, after in zip(returned, read, strict=True))


def _children(name: str, ran: Mapping[str, Seen]) -> list[str]:
    """Return the outermost layers inside a module that ran, in running order."""
    found = []
    for inner in ran:
        if inner.startswith(f"{name}."):
            parts = inner[len(name) + 1 :].split(".")
            around = (".".join([name, *parts[:end]]) for end in range(1, len(parts)))
            if not any(other in ran for other in around):
                found.append(inner)
    return found


def _same(one: Seen, other: Seen | None) -> bool:
    """Return whether two tensors hold the same values, as far as their sketches tell."""
    if one is other:
        return True
    if other is None or one.sketch is None or other.sketch is None or one.shape != other.shape:
        return False
    return all(torch.equal(a, b) for a, b in zip(one.sketch, other.sketch, strict=True))
