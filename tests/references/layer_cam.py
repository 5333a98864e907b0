"""LayerCAM of one image and one class, one value at a time."""

import numpy as np

from tests.references.normalize import minmax


def layer_cam(activation, gradient):
    """(C, h, w), (C, h, w) -> (h, w)."""
    channels, height, width = activation.shape
    raw = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            total = 0.0
            for channel in range(channels):
                weight = max(0.0, gradient[channel, row, column])
                total += weight * activation[channel, row, column]
            raw[row, column] = max(0.0, total)
    return minmax(raw)
