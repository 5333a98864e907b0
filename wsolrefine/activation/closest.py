"""Which of several tensors holds the same values as another one, up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TypeVar

import torch
from torch import Tensor

from wsolrefine.functional._numeric import working

T = TypeVar("T")


def closest(candidates: Sequence[tuple[T, Tensor]], expected: Tensor) -> T | None:
    """Return the key of the first candidate closest to ``expected``; None if all are too far."""
    distances = [distance(values, expected) for _, values in candidates]
    best = min(distances, default=inf)
    rounding = torch.finfo(expected.dtype).eps
    # A mean is summed in the working precision and rounded once to the tensor's.
    if best > max(4 * rounding, torch.finfo(working(expected).dtype).eps ** 0.5):
        return None
    return candidates[distances.index(best)][0]


def distance(values: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to that of ``expected``."""
    if values.shape != expected.shape:
        return inf
    difference = float(torch.linalg.vector_norm(working(values) - working(expected)))
    norm = float(torch.linalg.vector_norm(working(expected)))
    return difference / norm if difference < inf and norm > 0 else (inf if difference else 0.0)
