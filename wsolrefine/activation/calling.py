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

    The model gets a copy of the images, as it may change them in place.

    Raises:
        TypeError: the model fails, and its weights have another dtype than the images.
        ValueError: it fails, and its weights are on another device, or it takes no such images.

    """
    run = caller(model, call)
    try:
        return run(model, images.clone())
    except RuntimeError as error:
        blame = blamed(images, model, error)
        if blame is None:
            raise
        raise blame from error


def caller(model: nn.Module, call: Call | None) -> Call:
    """Return ``call``, or else the way to call the model that its signature tells."""
    keyword = None if call is not None else _only_keyword(model)
    if call is not None:
        return call
    if keyword is None:
        return lambda model, images: model(images)
    return lambda model, images: model(**{keyword: images})


def blamed(images: Tensor, model: nn.Module, error: Exception) -> Exception | None:
    """Return an error that names the images if it is them that the model cannot take, else None.

    Asked only after a failure: a model may well convert images of another dtype or device.
    """
    if not isinstance(error, RuntimeError):
        return None
    weights = [p for p in model.parameters() if p.is_floating_point()]
    devices, dtypes = {p.device for p in weights}, {p.dtype for p in weights}
    if devices and images.device not in devices:
        return ValueError(f"images: expected {weights[0].device} as the model, got {images.device}")
    if dtypes and images.dtype not in dtypes:
        return TypeError(f"images: expected {weights[0].dtype} as the model, got {images.dtype}")
    # Any other failure is the model's own.
    if _OF_SHAPES.search(str(error)):
        shape = tuple(images.shape)
        return ValueError(
            f"images: expected what the model takes, got {shape}, for which it raises: {error}"
        )
    return None


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
