"""How a model is called with images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Call = Callable[[nn.Module, Tensor], Any]
"""A function ``(model, images) -> output``."""


def check_call(call: Call | None) -> None:
    """Raise unless ``call`` is a function or None."""
    if call is not None and not callable(call):
        kind = type(call).__name__
        raise TypeError(f"call: expected a function (model, images) -> output, got {kind}")


def call_model(model: nn.Module, images: Tensor, call: Call | None) -> Any:
    """Return the output of a model for images, called as ``call`` says or as its signature does."""
    if call is not None:
        return call(model, images)
    keyword = _only_keyword(model)
    return model(images) if keyword is None else model(**{keyword: images})


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
