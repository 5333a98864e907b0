"""One forward pass, reduced to statistics, as all outputs would not fit into memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.calling import Call
from wsolrefine.activation.heads import Heads
from wsolrefine.activation.hooks import Hook, first_input, first_tensor, hooked
from wsolrefine.activation.layout import Read, fits
from wsolrefine.activation.locality import sketch
from wsolrefine.functional._numeric import working


class Seen(NamedTuple):
    """What is kept of a tensor for some of the images."""

    shape: tuple[int, ...]
    fault: str | None = None
    size: tuple[int, int] = (0, 0)
    means: tuple[Tensor, Tensor] | None = None
    sketch: tuple[Tensor, Tensor] | None = None


class Pass:
    """One forward pass over some of the probe's images.

    Args:
        model: the model.
        images: ``(B, C, H, W)``.
        read: lays a layer's output out as a map.
        call: how the model is called.
        count: how many of the images count; the rest fills the batch.
        noise: how many of them are noise without a changed part, of which means are kept.

    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        read: Read,
        call: Call,
        *,
        count: int,
        noise: int,
    ) -> None:
        self.read, self.size, self.batch = read, (images.shape[-2], images.shape[-1]), len(images)
        self.count, self.noise = count, noise
        self.outputs: dict[str, Seen] = {}
        self.inputs: dict[str, Seen] = {}
        self._recent: list[tuple[Tensor, int, Seen]] = []
        self.heads = Heads(model)
        names = [name for name, _ in model.named_modules() if name]
        hooks = [(name, self._note(name)) for name in names] + self.heads.hooks
        with torch.no_grad(), hooked(model, hooks):
            self.output = call(model, images)
        self._recent.clear()

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

    def _seen(self, tensor: Tensor) -> Seen:
        # A block returns what its last layer returned, and the next one reads it.
        for other, version, seen in self._recent:
            if other is tensor and version == _version(tensor):
                return seen
        seen = self._look(tensor)
        self._recent = [*self._recent[-1:], (tensor, _version(tensor), seen)]
        return seen

    def _look(self, tensor: Tensor) -> Seen:
        shape = tuple(tensor.shape)
        if len(shape) == 0 or shape[0] != self.batch:
            return Seen(shape, "not one for each image")
        maps = self.read(tensor[: self.count])
        if maps is None or not fits((maps.shape[-2], maps.shape[-1]), self.size):
            height, width = self.size
            return Seen(shape, f"without a grid of the image's aspect ({height} x {width})")
        if maps.shape[1] < 2:
            return Seen(shape, "of one channel")
        size, means = (maps.shape[-2], maps.shape[-1]), None
        if self.noise:
            first = working(maps[: self.noise])
            means = (first.mean((-2, -1)), first.relu().mean((-2, -1)))
        return Seen(shape, None, size, means, sketch(maps))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
