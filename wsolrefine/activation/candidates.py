"""Which of several tensors that can be logits are the logits."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from wsolrefine.activation.heads import Heads


def distinct(fitting: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors but for repetitions, and for scores per text beside those per image."""
    return _without_texts(_without_repetition(fitting))


def told_apart(fitting: Mapping[str, Tensor], heads: Heads, classes: int | None) -> str | None:
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
