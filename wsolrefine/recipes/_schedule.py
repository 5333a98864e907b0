"""Phases, frozen modules and learning rates of the recipes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi
from typing import Any

from torch import nn


def freeze(*modules: nn.Module) -> None:
    """Freeze the parameters and batch-norm statistics of modules."""
    for module in modules:
        module.requires_grad_(False).eval()


def phase_at(epoch: int, lengths: Iterable[int]) -> int:
    """Return the phase of an epoch, given the epochs of each phase; afterwards the last phase.

    Example:
        >>> [phase_at(epoch, (2, 1)) for epoch in range(4)]
        [0, 0, 1, 1]

    """
    *early, _ = lengths
    for phase, length in enumerate(early):
        if epoch < length:
            return phase
        epoch -= length
    return len(early)


def two_rates(
    recipe: nn.Module, pretrained: Iterable[nn.Module], pretrained_rate: float, rate: float
) -> list[dict[str, Any]]:
    """Return two parameter groups of an optimizer: the pretrained modules, and all the rest."""
    old = [parameter for module in pretrained for parameter in module.parameters()]
    ids = {id(parameter) for parameter in old}
    new = [parameter for parameter in recipe.parameters() if id(parameter) not in ids]
    return [{"params": old, "lr": pretrained_rate}, {"params": new, "lr": rate}]


def cosine(epoch: int, epochs: int) -> float:
    """Return the factor of a learning rate with cosine decay from 1 to 0.

    Example:
        >>> [round(cosine(epoch, 4), 2) for epoch in range(4)]
        [1.0, 0.85, 0.5, 0.15]

    """
    return (1 + cos(pi * epoch / epochs)) / 2


def check_stages(channels: Sequence[int], **stages: int | Sequence[int]) -> None:
    """Raise unless all stages are indices of ``channels``."""
    count = len(channels)
    for name, indices in stages.items():
        for stage in (indices,) if isinstance(indices, int) else indices:
            if not -count <= stage < count:
                raise ValueError(f"{name}: expected an index of {count} stages, got {stage}")
