"""Bilinear resizing with half-pixel centers and clamped borders, one output pixel at a time."""

import numpy as np


def _source(index, out_size, in_size):
    """The two input indices and the weight of the second one for one output index."""
    position = max((index + 0.5) * in_size / out_size - 0.5, 0.0)
    first = min(int(position), in_size - 1)
    return first, min(first + 1, in_size - 1), position - first


def resize(values, size):
    """(H, W) -> size."""
    out = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            top, bottom, down = _source(y, size[0], values.shape[0])
            left, right, along = _source(x, size[1], values.shape[1])
            upper = (1 - along) * values[top, left] + along * values[top, right]
            lower = (1 - along) * values[bottom, left] + along * values[bottom, right]
            out[y, x] = (1 - down) * upper + down * lower
    return out
