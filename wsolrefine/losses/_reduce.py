"""The reduction shared by all losses: mean, sum or none."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: Reduction) -> None:
    """Raise unless ``reduction`` is one of the three."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")


def reduced(values: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Return the mean, the sum or the values themselves, in the dtype of the loss's input."""
    if reduction == "mean":
        values = values.mean()
    elif reduction == "sum":
        values = values.sum()
    return values.to(dtype)
