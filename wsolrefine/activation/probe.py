"""Some forward passes, reduced to what distinguishes the layers of a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call, call_model
from wsolrefine.activation.heads import Heads
from wsolrefine.activation.hooks import Hook, first_input, first_tensor, hooked
from wsolrefine.activation.layout import Read, fits
from wsolrefine.activation.locality import NOISE, fault, probe_images, sketch
from wsolrefine.activation.outputs import Logits, classes_of, logits_of
from wsolrefine.functional._numeric import working

T = TypeVar("T")

_PIXELS = 18 * 256 * 256  # of the images of one pass


class Map(NamedTuple):
    """A layer's output (or input) that is a map of the image, without its values."""

    name: str
    size: tuple[int, int]
    channels: int
    means: tuple[Tensor, Tensor]  # over the grid: of the map, and of its ReLU, (2, C)
    weighted: bool  # whether the layer, or one inside it, has parameters


class _Seen(NamedTuple):
    """What is kept of a tensor for some of the images."""

    shape: tuple[int, ...]
    fault: str | None = None
    size: tuple[int, int] = (0, 0)
    means: tuple[Tensor, Tensor] | None = None
    sketch: tuple[Tensor, Tensor] | None = None


class Probe:
    """Maps among all outputs and inputs, in running order, and the heads that return the logits.

    Only statistics are kept: all outputs of a large network would not fit into memory. What is no
    map of the image is in ``faults``, with the reason.
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
        self.noise = probe_images(images)
        self.how, self.call = logits, call
        self.faults: dict[str, tuple[str, tuple[int, ...]]] = {}
        passes = self._passes(len(images))
        self.count = passes[0].batch
        self.outputs = self._maps([one.outputs for one in passes])
        self.inputs = self._maps([one.inputs for one in passes])
        first = passes[: max(1, NOISE // passes[0].count)]
        self.logits = torch.cat([one.logits(self)[: one.count] for one in first])[:NOISE]
        self.heads = _linear_heads([one.heads for one in first], self.logits)

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

    def _passes(self, given: int) -> list[_Pass]:
        """Run the images together, else one by one, else as many at a time as were given."""
        pixels = self.size[0] * self.size[1]
        together = max(1, min(len(self.noise), _PIXELS // pixels))
        counts = list(dict.fromkeys([together, 1, given or 1]))
        for count in counts:
            try:
                return list(self._run(count))
            except Exception:  # whatever a model raises for a number of images that it cannot take
                if count == counts[-1]:
                    raise
        raise AssertionError("one of the passes returns or raises")

    def _run(self, count: int) -> Iterator[_Pass]:
        for start in range(0, len(self.noise), count):
            batch = self.noise[start : start + count]
            missing = count - len(batch) if count < len(self.noise) else 0
            batch = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)])
            noise = max(0, min(NOISE - start, count))
            yield _Pass(self, batch, len(batch) - missing, noise, self.call)

    def _maps(self, tables: Sequence[dict[str, _Seen]]) -> dict[str, Map]:
        maps = {}
        modules = dict(self.model.named_modules())
        for name in tables[-1]:
            parts = [table[name] for table in tables if name in table]
            why = next((part.fault for part in parts if part.fault), None)
            if why is None and len({(part.size, part.shape[1:]) for part in parts}) > 1:
                why = "of another shape for other images"
            if why is None:
                cells, border = (
                    torch.cat([part.sketch[i] for part in parts if part.sketch]) for i in (0, 1)
                )
                why = fault(cells, border, self.size)
            if why is not None:
                self.faults.setdefault(name, (why, parts[-1].shape))
                continue
            means = [
                torch.cat([part.means[i] for part in parts if part.means])[:NOISE] for i in (0, 1)
            ]
            weighted = next(modules[name].parameters(), None) is not None
            size, channels = parts[0].size, means[0].shape[1]
            maps[name] = Map(name, size, channels, (means[0], means[1]), weighted)
        return maps


class _Pass:
    """One forward pass over some of the images."""

    def __init__(
        self,
        probe: Probe,
        images: Tensor,
        count: int,
        noise: int,
        call: Call | None,
    ) -> None:
        self.read, self.size, self.batch = probe.read, probe.size, len(images)
        self.count, self.noise = count, noise
        self.outputs: dict[str, _Seen] = {}
        self.inputs: dict[str, _Seen] = {}
        self._recent: list[tuple[Tensor, int, _Seen]] = []
        self.heads = Heads(probe.model)
        names = [name for name, _ in probe.model.named_modules() if name]
        hooks = [(name, self._note(name)) for name in names] + self.heads.hooks
        with torch.no_grad(), hooked(probe.model, hooks):
            self._output = call_model(probe.model, images, call)
        self._recent.clear()

    def logits(self, probe: Probe) -> Tensor:
        """Return the logits of this pass; what cannot be read is not tried with other batches."""
        classes = classes_of(probe.model)
        scores = logits_of(self._output, self.batch, probe.how, self.heads, classes)
        return scores.detach()

    def _note(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            for table, tensor in (
                (self.inputs, first_input(args, kwargs)),
                (self.outputs, first_tensor(output)),
            ):
                table.pop(name, None)  # a layer that runs again counts at its last run
                if tensor is not None:
                    table[name] = self._seen(tensor)

        return hook

    def _seen(self, tensor: Tensor) -> _Seen:
        # A block returns what its last layer returned, and the next one reads it.
        for other, version, seen in self._recent:
            if other is tensor and version == _version(tensor):
                return seen
        seen = self._look(tensor)
        self._recent = [*self._recent[-1:], (tensor, _version(tensor), seen)]
        return seen

    def _look(self, tensor: Tensor) -> _Seen:
        shape = tuple(tensor.shape)
        if len(shape) == 0 or shape[0] != self.batch:
            return _Seen(shape, "not one for each image")
        maps = self.read(tensor[: self.count])
        if maps is None or not fits((maps.shape[-2], maps.shape[-1]), self.size):
            return _Seen(shape, "without a grid of the image's aspect")
        if maps.shape[1] < 2:
            return _Seen(shape, "of one channel")
        size, means = (maps.shape[-2], maps.shape[-1]), None
        if self.noise:
            first = working(maps[: self.noise])
            means = (first.mean((-2, -1)), first.relu().mean((-2, -1)))
        return _Seen(shape, None, size, means, sketch(maps))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _linear_heads(passes: Sequence[Heads], logits: Tensor) -> dict[str, Tensor]:
    """Return what each linear layer read that returned the logits, by its name."""
    names = dict.fromkeys(head.name for head in passes[-1].found)
    heads = {}
    for name in names:
        found = [[head for head in one.found if head.name == name][-1:] for one in passes]
        if not all(found):
            continue
        source = torch.cat([one[0].source for one in found])[: len(logits)]
        result = torch.cat([one[0].result for one in found])[: len(logits)]
        if torch.equal(result, logits) and _is_linear(found[0][0].module, source, result):
            heads[name] = source
    return heads


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
    pooled = working(source)
    weight = module.weight.detach().flatten(1).to(pooled.dtype)
    if weight.shape[1] != pooled.shape[1] or len(weight) != result.shape[1]:
        return False
    product = pooled @ weight.mT
    scores = product if module.bias is None else product + module.bias.detach()
    # A subclass may do something else with its weight, such as a cosine: compare the values, as
    # closely as arithmetic in TF32 or bfloat16 allows.
    return _distance(scores, result) < 0.05
