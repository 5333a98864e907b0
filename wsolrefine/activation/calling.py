"""How a model is called with images."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

_OF_SHAPES = re.compile(r"\b(shapes?|sizes?|channels?|dimensions?)\b")
Call = Callable[[nn.Module, Tensor], Any]
"""A function ``(model, images) -> output``."""


def call_model(model: nn.Module, images: Tensor, call: Call | None) -> Any:
    """Return the output of a model for images, called as ``call`` says or as its signature does.

    Raises:
        TypeError: the model fails, and its weights have another dtype than the images.
        ValueError: it fails, and its weights are on another device, or it takes no such images.

    """
    keyword = None if call is not None else _only_keyword(model)
    try:
        if call is not None:
            return call(model, images)
        return model(images) if keyword is None else model(**{keyword: images})
    except RuntimeError as error:
        _blame(images, model, error)
        raise


def _blame(images: Tensor, model: nn.Module, error: RuntimeError) -> None:
    """Raise an error that names the images if it is them that the model cannot take.

    Asked only after a failure: a model may well convert images of another dtype or device.
    """
    weights = [p for p in model.parameters() if p.is_floating_point()]
    devices, dtypes = {p.device for p in weights}, {p.dtype for p in weights}
    if devices and images.device not in devices:
        device = weights[0].device
        raise ValueError(f"images: expected {device} as the model, got {images.device}") from error
    if dtypes and images.dtype not in dtypes:
        dtype = weights[0].dtype
        raise TypeError(f"images: expected {dtype} as the model, got {images.dtype}") from error
    # Any other failure is the model's own.
    if _OF_SHAPES.search(str(error)):
        shape = tuple(images.shape)
        raise ValueError(
            f"images: expected what the model takes, got {shape}, for which it raises: {error}"
        ) from error


def _only_keyword(model: nn.Module) -> str | None:
    """Return the name to pass images by; None if ``forward`` takes them by position."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):  # no signature, as some compiled code has none
        return None
    kinds = inspect.Parameter
    if any(p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD) for p in parameters):
        return None
    if any(p.kind == kinds.VAR_POSITIONAL for p in parameters):
        return None
    named = [p for p in parameters if p.kind == kinds.KEYWORD_ONLY]
    required = [p.name for p in named if p.default is kinds.empty]
    # One that is optional, of several, is not safe to guess.
    names = required or [p.name for p in named]
    if len(names) != 1:
        got = f"keywords {', '.join(names)}" if names else "no parameter for images"
        raise ValueError(
            "model: expected a forward that takes images by position or by its only keyword (or "
            f"call=lambda model, images: ...), got {got}"
        )
    return names[0]
