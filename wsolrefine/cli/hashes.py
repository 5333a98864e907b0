"""Hashes that tell whether a file or a model is the one of an earlier run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wsolrefine import Localizer


def digest(content: object) -> str:
    """Return the SHA-256 of nested mappings and sequences of tensors and plain values.

    Example:
        >>> one, other = torch.tensor([1.0]), torch.tensor([[1.0]])
        >>> digest({"a": one}) == digest({"a": one.clone()}), digest([one]) == digest([other])
        (True, False)

    """
    sha256 = hashlib.sha256()
    _feed(sha256, content)
    return sha256.hexdigest()


def described(value: object) -> str:
    """Return the ``repr`` of a value; "" if that has an address, which differs in every process.

    Example:
        >>> described((224, 224)), described(lambda image: image)
        ('(224, 224)', '')

    """
    shown = repr(value)
    return "" if " at 0x" in shown else shown


def localizer_hash(localizer: Localizer) -> str:
    """Return a hash of the weights, the names of the classes and the preprocessing of images.

    Weights count with name, shape and value. What shows only its address, such as preprocessing by
    a function, is left out.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> one, other = (localizer_hash(Localizer(model, class_names=[*n])) for n in ("ab", "ac"))
        >>> one == localizer_hash(Localizer(model, class_names=["a", "b"])), one == other
        (True, False)

    """
    weights = {
        name: value if isinstance(value, Tensor) else described(value)
        for name, value in sorted(localizer.state_dict().items())
    }
    return digest([weights, localizer.class_names, described(localizer.preprocess)])


def _feed(sha256: Any, value: object) -> None:
    """Add a value to a hash, with its kind and its length, so that different values differ."""
    if isinstance(value, Tensor):
        sha256.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        flat = _dense(value.detach()).cpu().contiguous().reshape(-1)
        sha256.update(flat.view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        sha256.update(f"mapping {len(value)};".encode())
        for key, item in value.items():
            _feed(sha256, key)
            _feed(sha256, item)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        sha256.update(f"{type(value).__name__} {len(value)};".encode())
        for item in value:
            _feed(sha256, item)
    else:
        text = repr(value).encode()
        sha256.update(f"value {len(text)};".encode() + text)


def _dense(value: Tensor) -> Tensor:
    """Return a tensor whose bytes can be read; of a quantized or sparse one, its values."""
    if value.is_quantized:
        return value.dequantize()
    return value.to_dense() if value.layout != torch.strided else value.resolve_conj()
