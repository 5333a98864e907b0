"""Whether a map covers the image up to its top and left edges."""

from __future__ import annotations

import torch
from torch import Tensor

EDGES = ("top", "left")
"""The edges of which the pixels are changed, one at a time.

At the bottom and on the right, a network may leave a remainder: patches of 16 read 224 pixels of
230. At the top and on the left every stride begins with the first pixels, so that a network that
does not read them crops the image, and its map is that of a part.
"""

_PIXELS = 2  # at least: resized to a fourth without smoothing, the first pixel is not read
_SHARE = 64  # at most one pixel in so many of the side is changed


def edge_masks(height: int, width: int) -> list[Tensor]:
    """Return masks ``(H, W)`` of the pixels at each of the ``EDGES``."""
    rows = torch.arange(height)[:, None] < max(_PIXELS, height // _SHARE)
    columns = torch.arange(width) < max(_PIXELS, width // _SHARE)
    return [rows.expand(height, width), columns.expand(height, width)]


def unread_edge(cells: Tensor, border: Tensor, rounding: float) -> str | None:
    """Return the edge of the image that changes nothing in a map, if there is one.

    Args:
        cells: differences ``(2, c, m, n)`` of the sketches to that of the image without a change.
        border: the same ``(2, c, 4)`` of the sketches of the sides.
        rounding: the largest difference that may be due to rounding.

    """
    for edge, inside, sides in zip(EDGES, cells, border, strict=True):
        if max(float(inside.abs().max()), float(sides.abs().max())) <= rounding:
            return edge
    return None
