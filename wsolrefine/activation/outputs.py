"""Which tensor of a model's output is the logits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wsolrefine.activation.heads import Heads

Logits = str | int | Callable[[Any], Tensor]
"""A key or attribute, an index, or a function of the output."""

# What a field of such a name holds is (B, n), but no class scores.
_NOT_LOGITS = ("feature", "embed", "hidden", "pool", "loss")
_FORM = "logits of shape (B, num_classes)"


def logits_of(
    output: Any, batch: int, logits: Logits | None, heads: Heads, classes: int | None
) -> Tensor:
    """Return the class scores ``(B, num_classes)`` in a model's output, or raise.

    Args:
        output: what the model returned.
        batch: number of images, B.
        logits: how to read them; None: what is called ``logits``, else the only tensor that can be
            logits, else the one that the model itself tells apart.
        heads: linear layers that returned vectors in the same forward pass.
        classes: number of classes that the model names, 0 if it has no head; None: not named.

    """
    if logits is not None:
        return _chosen(output, batch, logits)
    if classes == 0:  # timm's form of a network without a head, whose features are a vector too
        raise ValueError(
            "model: expected a classifier, got one of 0 classes that returns "
            f"{_shown(output, batch)}; give it a head, or choose with logits="
        )
    named = _field(output, "logits")
    if named is not None:
        scores = {name: _scores(t, batch) for name, t in _tensors(named, "logits")}
    else:
        scores = {name: _scores(t, batch) for name, t in _tensors(output, "output")}
    fitting = {name: tensor for name, tensor in scores.items() if tensor is not None}
    fitting = _without_texts(_without_repetition(fitting))
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not fitting:
        raise ValueError(f"model: expected {_FORM}, got {_shown(output, batch)}")
    name = _told_apart(fitting, heads, classes)
    if name is None:
        listed = ", ".join(f"{name} {_shape(tensor, batch)}" for name, tensor in fitting.items())
        raise ValueError(
            f"model: expected one output that can be {_FORM}, got {listed}; choose with logits=, "
            "a name, an index or a function of the output"
        )
    return fitting[name]


def classes_of(model: nn.Module) -> int | None:
    """Return how many classes a model says it has: timm's and transformers' attributes."""
    number = getattr(model, "num_classes", None)
    if number is None:
        number = getattr(getattr(model, "config", None), "num_labels", None)
    return number if isinstance(number, int) and number >= 0 else None


def _chosen(output: Any, batch: int, logits: Logits) -> Tensor:
    try:
        if callable(logits):
            value = logits(output)
        elif isinstance(logits, str):
            value = _field(output, logits)
        else:
            value = output[logits]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"logits: expected {_name(logits)} to give a tensor (B, num_classes), "
            f"got {_shown(output, batch)} ({error})"
        ) from error
    scores = _scores(value, batch) if isinstance(value, Tensor) else None
    if scores is None:
        got = _shown(output if value is None else value, batch)
        raise ValueError(
            f"logits: expected {_name(logits)} to give a floating-point tensor (B, num_classes) "
            f"with B={batch}, got {got}"
        )
    return scores


def _told_apart(fitting: Mapping[str, Tensor], heads: Heads, classes: int | None) -> str | None:
    """Return the name of the logits among several tensors that can be; None if that is a guess."""
    last = {name: heads.last(tensor) for name, tensor in fitting.items()}
    made = {name for name, tensor in fitting.items() if heads.made(tensor)}
    sized = [name for name, tensor in fitting.items() if tensor.shape[1] == classes]
    if len(sized) == 1:
        # A second head may have this size by chance, as four coordinates of a box have. What the
        # first one reads is no second head.
        read = {name for name in made if heads.reads(last[sized[0]], fitting[name])}
        return sized[0] if made - read <= set(sized) else None
    linear = [name for name, at in last.items() if at is not None]
    if len(linear) == 1:
        # Its input may be returned beside it. Of any other vector it is not known what it is: it
        # may be the logits of a head that is not linear.
        head, others = linear[0], [t for name, t in fitting.items() if name != linear[0]]
        return head if all(heads.reads(last[head], other) for other in others) else None
    # A network with an auxiliary head returns its logits first, and computes them last.
    first = next(iter(fitting))
    same = len({tensor.shape for tensor in fitting.values()}) == 1
    ends = [at for at in last.values() if at is not None]
    if same and len(ends) == len(fitting):
        auxiliary = all(heads.went_on(before, ends[0]) for before in ends[1:])
        return first if auxiliary else None
    return None


def _without_repetition(fitting: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what is there under another name too."""
    first: dict[int, str] = {}
    for name, tensor in fitting.items():
        first.setdefault(id(tensor), name)
    return {name: fitting[name] for name in first.values()}


def _without_texts(fitting: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out scores per text of which the transpose is there, as scores per image."""
    images = [tensor for name, tensor in fitting.items() if "image" in _key(name)]
    return {
        name: tensor
        for name, tensor in fitting.items()
        if "image" in _key(name) or not any(_is_transpose(tensor, image) for image in images)
    }


def _key(name: str) -> str:
    """Return the innermost key of ``output['a'].b``, in lower case."""
    return re.split(r"[.\[]", name)[-1].lower()


def _is_transpose(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.mT.shape or one.dtype != other.dtype:
        return False
    return torch.allclose(one, other.mT, rtol=1e-2, atol=1e-5, equal_nan=True)


def _scores(tensor: Tensor, batch: int) -> Tensor | None:
    """Return the tensor as (B, num_classes), or None if it cannot be logits."""
    if tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        tensor = tensor.flatten(1)
    fits = tensor.ndim == 2 and tensor.shape[0] == batch and tensor.shape[1] > 0
    return tensor if fits and tensor.is_floating_point() else None


def _field(output: Any, name: str) -> Any:
    """Return the entry or attribute of that name; None if there is none."""
    if isinstance(output, Tensor):
        return None
    if isinstance(output, Mapping):
        return output.get(name)
    return getattr(output, name, None)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors of an output by name, but for what is named like features or a loss."""
    if isinstance(value, Tensor):
        yield name, value
        return
    entries: list[tuple[str, str, Any]] = []  # how it is written, its name, the value
    if isinstance(value, Mapping):
        entries = [(f"{name}[{key!r}]", str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        keys = list(value._fields)
        entries = [(f"{name}.{key}", key, getattr(value, key)) for key in keys]
    elif is_dataclass(value) and not isinstance(value, type):
        keys = [field.name for field in fields(value)]
        entries = [(f"{name}.{key}", key, getattr(value, key)) for key in keys]
    elif isinstance(value, (tuple, list)):
        entries = [(f"{name}[{index}]", "", item) for index, item in enumerate(value)]
    for written, key, item in entries:
        if not any(word in key.lower() for word in _NOT_LOGITS):
            yield from _tensors(item, written)


def _name(logits: Logits) -> str:
    return getattr(logits, "__name__", "the function") if callable(logits) else repr(logits)


def _shown(output: Any, batch: int) -> str:
    if isinstance(output, Tensor):
        return f"{_shape(output, batch)} {output.dtype}"
    kind = type(output).__name__
    inside = ", ".join(f"{name} {_shape(t, batch)}" for name, t in _tensors(output, "output"))
    return f"{kind} with {inside}" if inside else kind


def _shape(tensor: Tensor, batch: int) -> str:
    """Return the shape as text, with B for the number of images, which the user does not know."""
    sizes = ["B" if axis == 0 and n == batch else str(n) for axis, n in enumerate(tensor.shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
