"""The linear layers of a forward pass that return vectors: one of them makes the logits.

And the networks without a head within a model, whose vectors are features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine.activation.closest import distance
from wsolrefine.activation.hooks import Hook, first_input, first_tensor
from wsolrefine.functional._numeric import working


class Head(NamedTuple):
    """Input ``(B, C)`` and output ``(B, n)`` of a linear layer.

    ``pixels`` is the size of the last map that a convolution or linear layer returned before it.
    """

    name: str
    module: nn.Module
    source: Tensor
    result: Tensor
    pixels: int


class Heads:
    """Hooks that keep what the linear layers of a model read and returned, in running order.

    Args:
        model: the model.
        known: the layer that returns the logits, if that was found before: no other is watched,
            unless a part of the model has no head. Each hook takes as long as a small layer.

    """

    def __init__(self, model: nn.Module, known: str | None = None) -> None:
        self.found: list[Head] = []
        self._features: list[Tensor] = []
        self._pixels = 0
        modules = dict(model.named_modules())
        headless = _headless(modules)
        self.all_watched = known is None or classes_of(model) == 0 or bool(headless)
        self.hooks = [
            (name, self._note(name))
            for name, module in modules.items()
            if name and isinstance(module, (nn.Linear, nn.Conv2d))
            if self.all_watched or name == known
        ]
        self.hooks += [(name, self._note_features) for name in headless]

    def last(self, tensor: Tensor) -> int | None:
        """Return the position of the last layer that returned these values."""
        for at in reversed(range(len(self.found))):
            if _same(self.found[at].result, tensor):
                return at
        return None

    def reads(self, at: int | None, tensor: Tensor) -> bool:
        """Return whether the layer at a position read these values."""
        return at is not None and _same(self.found[at].source, tensor)

    def is_features(self, tensor: Tensor) -> bool:
        """Return whether these are values of a network without a head, and of no linear layer."""
        return any(_same(one, tensor) for one in self._features) and self.last(tensor) is None

    def _note_features(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        result = first_tensor(output)
        if result is not None and _is_vector(result):
            self._features.append(result.detach().flatten(1).clone())

    def made(self, tensor: Tensor) -> bool:
        """Return whether a layer returned these values, or some of its columns are these."""
        return any(_contains(head.result, tensor) for head in self.found)

    def went_on(self, before: int, after: int) -> bool:
        """Return whether the network went on to a coarser grid between two layers.

        Then the first is an auxiliary head on earlier features, and not one beside the other.
        """
        return self.found[before].pixels > self.found[after].pixels > 0 and before < after

    def _note(self, name: str) -> Hook:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            result = first_tensor(output)
            if result is None:
                return
            if not _is_vector(result):
                self._pixels = _pixels(result)
                return
            source = first_input(args, kwargs)
            if source is None:
                return
            # Copies: an in-place operation may follow.
            source, result = source.detach().flatten(1).clone(), result.detach().flatten(1).clone()
            self.found.append(Head(name, module, source, result, self._pixels))

        return hook


def classes_of(model: nn.Module) -> int | None:
    """Return how many classes a model says it has: timm's and transformers' attributes."""
    number = _own(model, "num_classes")
    if number is None:
        number = getattr(_own(model, "config"), "num_labels", None)
    return number if isinstance(number, int) and number >= 0 else None


def _own(module: nn.Module, name: str) -> Any:
    """Return an attribute, None if there is none: to ask a module for one that it lacks is slow."""
    if name in vars(module):
        return vars(module)[name]
    return getattr(module, name, None) if hasattr(type(module), name) else None


def _headless(modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the names of the networks of 0 classes within a model, without what they consist of.

    Parts of one have its configuration in transformers, and may be a head that was added to it.
    """
    found: list[str] = []
    for name, module in modules.items():
        if not name or classes_of(module) != 0:
            continue
        if not any(name.startswith(f"{other}.") for other in found):
            found.append(name)
    return found


def linear_heads(passes: Sequence[Heads], logits: Tensor) -> dict[str, Tensor]:
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
    finite = result.isfinite().all(0)  # minus infinity rules a class out
    return distance(scores[:, finite], result[:, finite]) < 0.05


def _is_vector(tensor: Tensor) -> bool:
    return tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1))


def _pixels(tensor: Tensor) -> int:
    """Return the size of the grid of a map ``(B, C, h, w)`` or of tokens ``(B, N, C)``."""
    return prod(tensor.shape[2:] if tensor.ndim == 4 else tensor.shape[1:-1])


def _contains(whole: Tensor, part: Tensor) -> bool:
    """Return whether ``(B, n)`` is some columns of ``(B, m)`` that lie side by side."""
    width = part.shape[1]
    if whole.dtype != part.dtype or whole.device != part.device or len(whole) != len(part):
        return False
    begins = _close(whole, part[:, :1]).all(0)[: max(0, whole.shape[1] - width + 1)]
    starts = begins.nonzero().flatten().tolist()
    return any(_same(whole[:, start : start + width], part) for start in starts)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(_close(one, other).all())


def _close(one: Tensor, other: Tensor) -> Tensor:
    return torch.isclose(one, other.detach(), rtol=0, atol=0, equal_nan=True)
