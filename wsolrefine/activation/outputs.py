"""Which tensor of a model's output is the logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from wsolrefine.activation.candidates import distinct, told_apart
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
        classes: number of classes that the model names, 0 if it was made without a head; None: not
            named.

    """
    if logits is not None:
        return _chosen(output, batch, logits)
    named = _field(output, "logits")
    if named is not None:
        scores = {name: _scores(t, batch) for name, t in _tensors(named, "logits")}
    else:
        scores = {name: _scores(t, batch) for name, t in _tensors(output, "output")}
    # The features of timm's networks without a head are a vector too. One that was given a head
    # afterwards may still say that it has 0 classes.
    features = {
        name
        for name, tensor in scores.items()
        if (classes == 0 and (tensor is None or heads.last(tensor) is None))
        or (tensor is not None and heads.is_features(tensor))
    }
    if len(features) == len(scores) > 0:
        raise ValueError(
            "model: expected a classifier, got one of 0 classes that returns "
            f"{_shown(output, batch)}; give it a head, or choose with logits="
        )
    fitting = {
        name: tensor
        for name, tensor in scores.items()
        if tensor is not None and name not in features
    }
    fitting = distinct(fitting)
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not fitting:
        raise ValueError(f"model: expected {_FORM}, got {_shown(output, batch)}")
    name = told_apart(fitting, heads, classes)
    if name is None:
        listed = ", ".join(f"{name} {_shape(tensor, batch)}" for name, tensor in fitting.items())
        raise ValueError(
            f"model: expected one output that can be {_FORM}, got {listed}; choose with logits=, "
            "a name, an index or a function of the output"
        )
    return fitting[name]


def scores_in(output: Any, batch: int) -> list[Tensor]:
    """Return all tensors ``(B, n)`` of an output that can be class scores, in its own order."""
    named = _field(output, "logits")
    tensors = _tensors(output if named is None else named, "output")
    scores = (_scores(tensor, batch) for _, tensor in tensors)
    return [one for one in scores if one is not None]


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
