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
    wanted = working(expected)
    fitting = [(key, values) for key, values in candidates if values.shape == expected.shape]
    apart = [working(values) - wanted for _, values in fitting]
    # All at once: a GPU is waited for once.
    norm, *norms = torch.stack([torch.linalg.vector_norm(one) for one in (wanted, *apart)]).tolist()
    distances = [_relative(difference, norm) for difference in norms]
    best = min(distances, default=inf)
    rounding = torch.finfo(expected.dtype).eps
    # A mean is summed in the working precision and rounded once to the tensor's.
    if best > max(4 * rounding, torch.finfo(working(expected).dtype).eps ** 0.5):
        return None
    return fitting[distances.index(best)][0]


def distance(values: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference relative to that of ``expected``."""
    if values.shape != expected.shape:
        return inf
    difference = float(torch.linalg.vector_norm(working(values) - working(expected)))
    return _relative(difference, float(torch.linalg.vector_norm(working(expected))))


def _relative(difference: float, norm: float) -> float:
    return difference / norm if difference < inf and norm > 0 else (inf if difference else 0.0)
