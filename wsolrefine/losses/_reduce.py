"""What the losses share: the last step, and the checks of reductions and class indices."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: Reduction) -> None:
    """Raise unless it is one of the three."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")


def reduced(values: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Return mean or sum of the values, or the values, in the dtype of the loss's input."""
    if reduction == "mean":
        values = values.mean()
    elif reduction == "sum":
        values = values.sum()
    return values.to(dtype)


def check_label(label: Tensor, like: Tensor, name: str, *, classes: int | None = None) -> None:
    """Raise unless ``label`` holds one int64 class for each sample of ``like``.

    If there are so many ``classes``, it must be one of them. That reads values, for which a GPU
    would be waited for: there, and in compiled code, torch's own indexing fails instead.
    """
    if not isinstance(label, Tensor):
        raise TypeError(f"label: expected a torch.Tensor, got {type(label).__name__}")
    if label.dtype != torch.int64:
        raise TypeError(f"label: expected dtype torch.int64, got {label.dtype}")
    if label.shape != (len(like),):
        expected = f"label: expected shape (B,) with B={len(like)} from {name}"
        raise ValueError(f"{expected}, got {tuple(label.shape)}")
    if label.device != like.device:
        raise ValueError(f"label: expected {like.device} as {name}, got {label.device}")
    if classes is None or label.device.type != "cpu" or torch.compiler.is_compiling():
        return
    outside = label[(label < 0) | (label >= classes)]
    if len(outside):
        got = outside[0].item()
        raise ValueError(f"label: expected 0 to {classes - 1} as {name}, got {got}")
