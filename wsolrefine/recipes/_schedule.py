"""What the recipes share about training: phases, frozen parts, two speeds of learning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, pi
from typing import Any

from torch import nn


def freeze(*modules: nn.Module) -> None:
    """Stop parameters and batch-norm statistics of modules from changing."""
    for module in modules:
        module.requires_grad_(False).eval()


def phase_at(epoch: int, lengths: Iterable[int]) -> int:
    """Return which of the phases, each of so many epochs, an epoch lies in; the last one after.

    Example:
        >>> [phase_at(epoch, (2, 1)) for epoch in range(4)]
        [0, 0, 1, 1]

    """
    *early, _ = ends = list(lengths)
    phase = 0
    for length in early:
        if epoch < length:
            return phase
        epoch, phase = epoch - length, phase + 1
    return len(ends) - 1


def two_speeds(
    recipe: nn.Module, pretrained: Iterable[nn.Module], pretrained_rate: float, rate: float
) -> list[dict[str, Any]]:
    """Return an optimizer's two groups: parameters of the pretrained modules, and all others."""
    slow = [parameter for module in pretrained for parameter in module.parameters()]
    known = {id(parameter) for parameter in slow}
    fast = [parameter for parameter in recipe.parameters() if id(parameter) not in known]
    return [{"params": slow, "lr": pretrained_rate}, {"params": fast, "lr": rate}]


def cosine(epoch: int, epochs: int) -> float:
    """Return the factor of a learning rate that falls from 1 to 0 along half a cosine.

    Example:
        >>> [round(cosine(epoch, 4), 2) for epoch in range(4)]
        [1.0, 0.85, 0.5, 0.15]

    """
    return (1 + cos(pi * epoch / epochs)) / 2


def check_stages(channels: Sequence[int], **stages: int | Sequence[int]) -> None:
    """Raise unless all stages are among those of ``channels``."""
    count = len(channels)
    for name, wanted in stages.items():
        for stage in (wanted,) if isinstance(wanted, int) else wanted:
            if not -count <= stage < count:
                raise ValueError(f"{name}: expected an index of {count} stages, got {stage}")
