"""Products in full precision, also inside autocast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def outside_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function of tensors outside autocast, which would round its products to half precision.

    A min-max turns the rounding of a product into a visible error, so the products of this library
    are taken in float32 whatever surrounds the call.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        device = _device_type([*args, *kwargs.values()])
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run


def _device_type(values: list[object]) -> str:
    """Return the device of the first tensor, also of a list of them."""
    for value in values:
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(first, Tensor) and first.device.type != "meta":
            return first.device.type
    return "cpu"
