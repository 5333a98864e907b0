"""One forward pass, reduced to what distinguishes the layers of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from wsolrefine.activation.hooks import Hook, first_input, first_tensor, hooked, logits_of
from wsolrefine.functional._numeric import working

T = TypeVar("T")


class Grid(NamedTuple):
    """A layer's output (or input) that has a grid, without its values."""

    name: str
    shape: tuple[int, ...]  # as the layer returned it
    size: tuple[int, int]
    channels: int
    means: tuple[Tensor, Tensor]  # over the grid: of the map, and of its ReLU, (1, C)
    weighted: bool  # whether the layer, or one inside it, has parameters


class Probe:
    """Grids of all outputs and inputs, in running order, and the heads that return the logits.

    Only means are kept: all outputs of a large network would not fit into memory.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, read: Callable[[Tensor], Tensor | None]
    ) -> None:
        self.outputs: dict[str, Grid] = {}
        self.inputs: dict[str, Grid] = {}
        self.tokens: set[int] = set()  # lengths of everything that may be a sequence of tokens
        linear: dict[str, tuple[Tensor, Tensor]] = {}

        def note(name: str) -> Hook:
            def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                source, result = first_input(args, kwargs), first_tensor(output)
                for table, tensor in ((self.inputs, source), (self.outputs, result)):
                    table.pop(name, None)  # a layer that runs again counts at its last run
                    grid = _grid(name, module, tensor, read)
                    if grid is not None:
                        table[name] = grid
                if source is None or result is None:
                    return
                if result.ndim == 3 and len(result) == 1:
                    self.tokens.add(result.shape[1])
                linear.pop(name, None)
                if _is_linear(module, source, result):
                    linear[name] = source.flatten(1), result.flatten(1)

            return hook

        names = [name for name, _ in model.named_modules() if name]
        with torch.no_grad(), hooked(model, [(name, note(name)) for name in names]):
            self.logits = logits_of(model(images))
        self.heads = {
            name: pooled for name, (pooled, out) in linear.items() if torch.equal(out, self.logits)
        }

    def averaged(self) -> tuple[str, str | None] | None:
        """Return (cam, head) of the map whose mean the head reads; no head if it is the logits."""
        outputs, inputs = list(self.outputs.values()), list(self.inputs.values())
        for head, pooled in reversed(self.heads.items()):
            # On ties the first: an output before an input, a later layer before an earlier one.
            candidates = [
                (grid.name, grid.means[which])
                for grids, which in ((outputs, 0), (outputs, 1), (inputs, 0))
                for grid in reversed(grids)
            ]
            if pooled.any() and (name := closest(candidates, pooled)) is not None:
                return name, head
        means = [(grid.name, grid.means[0]) for grid in reversed(outputs)]
        name = closest(means, self.logits)
        return None if name is None else (name, None)


def closest(candidates: Sequence[tuple[T, Tensor]], expected: Tensor) -> T | None:
    """Return the key of the first candidate closest to ``expected``; None if all are too far."""
    distances = [_distance(values, expected) for _, values in candidates]
    best = min(distances, default=inf)
    rounding = torch.finfo(expected.dtype).eps
    # A mean is summed in the working precision and rounded once to the tensor's.
    if best > max(4 * rounding, torch.finfo(working(expected).dtype).eps ** 0.5):
        return None
    return candidates[distances.index(best)][0]


def _distance(values: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to that of ``expected``."""
    if values.shape != expected.shape:
        return inf
    difference = float(torch.linalg.vector_norm(working(values) - working(expected)))
    norm = float(torch.linalg.vector_norm(working(expected)))
    return difference / norm if difference < inf and norm > 0 else (inf if difference else 0.0)


def _is_linear(module: nn.Module, source: Tensor, result: Tensor) -> bool:
    """Return whether the layer multiplies a vector by its ``weight``."""
    if not isinstance(module, (nn.Linear, nn.Conv2d)) or not isinstance(module.weight, Tensor):
        return False
    pooled = working(source.flatten(1))
    weight = module.weight.flatten(1).to(pooled.dtype)
    if weight.shape[1] != pooled.shape[1] or len(weight) != result.flatten(1).shape[1]:
        return False
    product = pooled @ weight.mT
    scores = product if module.bias is None else product + module.bias
    # A subclass may do something else with its weight, such as a cosine: compare the values, as
    # closely as arithmetic in TF32 or bfloat16 allows.
    return _distance(scores, result.flatten(1)) < 0.05


def _grid(
    name: str, module: nn.Module, tensor: Tensor | None, read: Callable[[Tensor], Tensor | None]
) -> Grid | None:
    if tensor is None or tensor.ndim < 3 or len(tensor) != 1:
        return None
    maps = read(tensor)
    if maps is None or maps.shape[-2] * maps.shape[-1] == 1:
        return None
    return Grid(
        name=name,
        shape=tuple(tensor.shape),
        size=(maps.shape[-2], maps.shape[-1]),
        channels=maps.shape[1],
        means=(working(maps).mean((-2, -1)), working(maps).relu().mean((-2, -1))),
        weighted=next(module.parameters(), None) is not None,
    )
