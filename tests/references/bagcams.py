"""BagCAMs of one image, one localizer and one position at a time."""

import numpy as np

from tests.references.normalize import minmax


def bagcams(activation, gradient):
    """(C, h, w) and the gradient of the score there -> (h, w)."""
    channels, height, width = activation.shape
    evidence = (gradient * activation).reshape(channels, -1)
    positions = evidence.shape[1]
    map = np.zeros(positions)
    for channel in evidence:
        for i in range(positions):
            localized = [(1 + channel[m]) * channel[i] for m in range(positions)]
            map[i] += max(0.0, sum(localized) / positions)
    return minmax(map.reshape(height, width))
