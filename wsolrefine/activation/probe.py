"""Some forward passes, reduced to what distinguishes the layers of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call
from wsolrefine.activation.chain import is_chain
from wsolrefine.activation.closest import closest
from wsolrefine.activation.finite import check_logits_of_noise
from wsolrefine.activation.heads import classes_of, linear_heads
from wsolrefine.activation.layout import Read
from wsolrefine.activation.locality import ELSEWHERE, NOISE, fault
from wsolrefine.activation.noise import run_on_noise
from wsolrefine.activation.outputs import Logits, logits_of
from wsolrefine.activation.passes import Pass, Seen


class Map(NamedTuple):
    """A layer's output (or input) that is a map of the image, without its values."""

    name: str
    size: tuple[int, int]
    channels: int
    means: tuple[Tensor, Tensor]  # over the grid: of the map, and of its ReLU, (2, C)
    weighted: bool  # whether the layer, or one inside it, has parameters


class Probe:
    """Maps among all outputs and inputs, in running order, and the heads that return the logits.

    Only statistics are kept: all outputs of a large network would not fit into memory. What is no
    map of the image is in ``faults``, with the reason. ``grids`` are those of all outputs, also of
    the ones whose cells are not where the image is, but for a chain that fails by its last layer.
    ``ran`` names all layers in running order.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        read: Read,
        *,
        logits: Logits | None,
        call: Call | None,
    ) -> None:
        self.model, self.read, self.size = model, read, (images.shape[-2], images.shape[-1])
        self.how, self.call = logits, call
        self._modules = dict(model.named_modules())
        self._known: dict[tuple[int, ...], str | None] = {}
        self.faults: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.grids: dict[str, tuple[int, int]] = {}
        self.noise, passes = run_on_noise(model, images, read, call)
        self.ran = list(passes[-1].outputs)
        self.count = passes[0].batch
        first = passes[: max(1, NOISE // passes[0].count)]
        self.logits = torch.cat([self._logits(one)[: one.count] for one in first])[:NOISE]
        check_logits_of_noise(model, self.noise[: self.count], self.logits, call)
        self.heads = linear_heads([one.heads for one in first], self.logits)
        self.outputs: dict[str, Map] = {}
        self.inputs: dict[str, Map] = {}
        for name in passes[-1].outputs:
            parts = [one.outputs[name] for one in passes if name in one.outputs]
            why = self._fault(parts)
            if why is None:
                self.outputs[name] = self._map(name, parts)
            else:
                self.faults[name] = (why, parts[-1].shape)
            elsewhere = why is not None and why.startswith(ELSEWHERE)
            if why is None or (elsewhere and not is_chain(name, passes[0])):
                self.grids[name] = parts[0].size
        for name in passes[-1].inputs:
            parts = [one.inputs[name] for one in passes if name in one.inputs]
            if self._fault(parts) is None:
                self.inputs[name] = self._map(name, parts)

    def averaged(self) -> tuple[str, str | None] | None:
        """Return (cam, head) of the map whose mean the head reads; no head if it is the logits."""
        outputs, inputs = list(self.outputs.values()), list(self.inputs.values())
        for head, pooled in reversed(self.heads.items()):
            # On ties the first: an output before an input, a later layer before an earlier one.
            candidates = [
                (one.name, one.means[which])
                for maps, which in ((outputs, 0), (outputs, 1), (inputs, 0))
                for one in reversed(maps)
            ]
            if pooled.any() and (name := closest(candidates, pooled)) is not None:
                return name, head
        means = [(one.name, one.means[0]) for one in reversed(outputs)]
        name = closest(means, self.logits)
        return None if name is None else (name, None)

    def _logits(self, one: Pass) -> Tensor:
        scores = logits_of(one.output, one.batch, self.how, one.heads, classes_of(self.model))
        return scores.detach()

    def _fault(self, parts: Sequence[Seen]) -> str | None:
        """Return why what was seen of a tensor in all passes is no map; None if it is one."""
        key = tuple(map(id, parts))  # one layer's output is often the next one's input
        if key not in self._known:
            self._known[key] = self._checked(parts)
        return self._known[key]

    def _checked(self, parts: Sequence[Seen]) -> str | None:
        why = next((part.fault for part in parts if part.fault), None)
        if why is not None:
            return why
        if len({(part.size, part.shape[1:]) for part in parts}) > 1:
            return "of another shape for other images"
        cells, border = (
            torch.cat([part.sketch[i] for part in parts if part.sketch]) for i in (0, 1)
        )
        return fault(cells, border, self.size)

    def _map(self, name: str, parts: Sequence[Seen]) -> Map:
        plain, positive = (
            torch.cat([part.means[i] for part in parts if part.means])[:NOISE] for i in (0, 1)
        )
        weighted = next(self._modules[name].parameters(), None) is not None
        return Map(name, parts[0].size, plain.shape[1], (plain, positive), weighted)
