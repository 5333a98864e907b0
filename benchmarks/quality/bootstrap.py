"""Standard errors by bootstrap, of results and of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

DRAWS = 1000


def draw(groups: Sequence[str], sources: Tensor, *, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """Return how often each image is drawn, ``(draws, N)``.

    Groups are drawn, not images: those that share an object are not independent. Each set keeps
    its number of groups.

    Args:
        groups: of each of N images.
        sources: the number of the set that each is from, ``(N,)``.
        draws: number of draws.
        seed: of the draws.

    """
    chance = np.random.default_rng(seed)
    weights = torch.zeros(draws, len(groups), dtype=torch.float64)
    for source in sorted({*sources.tolist()}):
        members = (sources == source).nonzero()[:, 0].tolist()
        names = sorted({groups[i] for i in members})
        number = len(names)
        drawn = chance.multinomial(number, np.full(number, 1 / number), draws)
        column = {name: place for place, name in enumerate(names)}
        places = [column[groups[i]] for i in members]
        weights[:, members] = torch.from_numpy(drawn[:, places]).double()
    return weights


def means(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of values ``(N,)`` in each draw, NaN if it holds none of them."""
    return weights @ values.double() / weights.sum(1)


def average_precisions(scores: Tensor, weights: Tensor) -> Tensor:
    """Return PxAP in each draw, from counts of the scores of each image, ``(N, 2, bins)``."""
    pooled = (weights @ scores.double().flatten(1)).reshape(len(weights), *scores.shape[1:])
    true, false = pooled.flip(2).cumsum(2).unbind(1)
    precision = true / (true + false).clamp_min(1)
    gained = true.diff(dim=1, prepend=true.new_zeros(len(true), 1)) / true[:, -1:]
    return (precision * gained).sum(1)


def error(draws: Tensor) -> float:
    """Return the standard error of a result from its draws."""
    return draws.std().item()
