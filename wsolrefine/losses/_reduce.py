"""What the losses share: the last step, and the check of class indices."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "none"]


def reduced(values: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Return the mean of the values, or the values, in the dtype of the loss's input."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction: expected 'mean' or 'none', got {reduction!r}")
    return (values.mean() if reduction == "mean" else values).to(dtype)


def check_label(label: Tensor, like: Tensor, name: str) -> None:
    """Raise unless ``label`` holds one int64 class for each sample of ``like``."""
    if not isinstance(label, Tensor):
        raise TypeError(f"label: expected a torch.Tensor, got {type(label).__name__}")
    if label.dtype != torch.int64:
        raise TypeError(f"label: expected dtype torch.int64, got {label.dtype}")
    if label.shape != (len(like),):
        expected = f"label: expected shape (B,) with B={len(like)} from {name}"
        raise ValueError(f"{expected}, got {tuple(label.shape)}")
    if label.device != like.device:
        raise ValueError(f"label: expected {like.device} as {name}, got {label.device}")
