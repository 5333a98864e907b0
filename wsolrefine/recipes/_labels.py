"""Pseudo labels whose thresholds are quantiles of each map."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine.functional._numeric import working


def quantile_label(maps: Tensor, *, foreground: float, background: float) -> Tensor:
    """Label the pixels of each map ``(..., H, W)``: object 1, background 0, uncertain 255.

    Object are the pixels above the ``foreground`` quantile of their map, background those up to its
    ``background`` quantile, ``background <= foreground``. A quantile is a value of the map itself.
    Equal pixels have equal labels: where much of a map has its lowest value, all of that is
    background, and in a constant map everything is. NaN is uncertain, and so is all of its map.

    Example:
        >>> maps = torch.tensor([[0.0, 0.0, 0.1, 0.3, 0.9]])
        >>> quantile_label(maps, foreground=0.8, background=0.3)
        tensor([[  0,   0, 255, 255,   1]], dtype=torch.uint8)

    """
    values = working(maps).flatten(-2)
    shares = values.new_tensor([background, foreground])
    low, high = values.quantile(shares, -1, interpolation="lower")[..., None, None]
    label = torch.full_like(maps, 255, dtype=torch.uint8)
    return label.masked_fill(maps <= low, 0).masked_fill(maps > high, 1)
