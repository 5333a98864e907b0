"""Which stages are only the stem of a network: a few convolutions that make the grid smaller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile

from torch import nn

_LAYERS = 3  # at most as many run on each grid of a stem
_TIMES = 16  # and so many times as many on some other grid


def without_stem(model: nn.Module, ends: Sequence[str], ran: Iterable[str]) -> list[str]:
    """Return the ends of stages but for those of the stem, in their order.

    Convolutions in front of a transformer lead to its grid in a few steps, each on a grid of its
    own: these maps show edges. A stage has blocks of several layers.

    Args:
        model: the network.
        ends: the last layer of each stage.
        ran: names of all its layers, in running order.

    """
    modules = dict(model.named_modules())
    passed, before = 0, {}  # convolutions, linear layers and the like up to each layer
    for name in ran:
        # A table of positions (1, N, C) is no layer.
        passed += any(p.ndim > 1 and len(p) > 1 for p in modules[name].parameters(recurse=False))
        before[name] = passed
    order = sorted(ends, key=before.__getitem__)
    up_to = [0, *(before[name] for name in order), passed]
    layers = [after - start for start, after in pairwise(up_to)]  # the last is what follows
    is_stem = [count <= _LAYERS and _TIMES * count <= max(layers) for count in layers[:-1]]
    stem = [name for name, _ in takewhile(lambda pair: pair[1], zip(order, is_stem, strict=True))]
    return [name for name in ends if name not in stem] or list(ends)
