"""The graph of autograd, and a backward pass through it that torch gets right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import Node


def nodes_behind(node: Node | None) -> set[Node]:
    """Return all nodes that a graph leads to from this one."""
    found: set[Node] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.add(one)
            waiting += [following for following, _ in one.next_functions]
    return found


@contextmanager
def exact_batch_norm(scores: Tensor) -> Iterator[None]:
    """Keep torch from mistaking the layout of gradients on their way through batch normalization.

    For one image on a CPU, torch (2.13 and earlier) reads a gradient whose channels are last in
    memory, as behind ``flatten(2).mT``, as if they were first, or the other way around: the strides
    of an axis of one entry mislead it. Where channels are last with the strides that torch itself
    gives them, it is right whatever the layout of the input is, to the last bit.
    """
    with ExitStack() as stack:
        if len(scores) == 1 and scores.device.type == "cpu":
            for node in nodes_behind(scores.grad_fn):
                if "BatchNorm" in node.name():
                    stack.callback(node.register_prehook(_laid_out(node)).remove)
        yield


def _laid_out(node: Node) -> Callable[[tuple[Tensor | None, ...]], tuple[Tensor | None, ...]]:
    plain = _is_plain(getattr(node, "_saved_input", None))

    def hook(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        first = gradients[0]
        if first is None or first.ndim != 4 or (plain and _is_plain(first)):
            return gradients
        # contiguous() would return the tensor itself, with the strides that mislead.
        return (first.clone(memory_format=torch.channels_last), *gradients[1:])

    return hook


def _is_plain(maps: Tensor | None) -> bool:
    """Return whether only channels first fits the strides of ``(1, C, H, W)``."""
    if maps is None or maps.ndim != 4:
        return False
    _, channels, height, width = maps.shape
    standard = (channels * height * width, height * width, width, 1)
    return maps.stride() == standard and channels > 1 and height * width > 1
