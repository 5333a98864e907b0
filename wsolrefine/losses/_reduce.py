"""The reduction shared by all losses: mean, sum or none."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from wsolrefine._options import check_choice

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: Reduction) -> None:
    """Raise unless ``reduction`` is one of the three."""
    check_choice("reduction", reduction, get_args(Reduction))


def reduced(values: Tensor, reduction: Reduction, dtype: torch.dtype) -> Tensor:
    """Return the mean, the sum or the values themselves, in the dtype of the loss's input.

    The mean of no values is 0: an empty batch adds nothing, where NaN would spoil the weights.
    """
    if reduction == "mean" and values.numel():
        values = values.mean()
    elif reduction != "none":
        values = values.sum()
    return values.to(dtype)
