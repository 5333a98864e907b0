"""Objects of one map, by flooding it from the brightest pixel to the darkest."""

import numpy as np

from tests.references.components import STEPS


def instance_labels(values, threshold, min_prominence, min_area):
    """Labels of ``(H, W)``: 0 for background, objects from 1 by descending peak."""

    def rank(pixel):
        """Brightest first; of equal ones, the first in reading order."""
        return -values[pixel], pixel

    above = np.argwhere(values > threshold)
    values = values.astype(np.float64)
    basin = {}  # of each flooded pixel: the peak that it climbs to
    owner = {}  # of each peak: that of its object
    for pixel in sorted(((int(y), int(x)) for y, x in above), key=rank):
        y, x = pixel
        around = sorted(((y + a, x + b) for a, b in STEPS[8] if (y + a, x + b) in basin), key=rank)
        basin[pixel] = basin[around[0]] if around else pixel
        owner.setdefault(basin[pixel], basin[pixel])
        for other in around:
            pair = {owner[basin[pixel]], owner[basin[other]]}
            high, low = min(pair, key=rank), max(pair, key=rank)
            if values[low] - values[pixel] <= min_prominence:
                owner = {peak: high if of == low else of for peak, of in owner.items()}

    objects = sorted(set(owner.values()), key=rank)
    area = {peak: sum(owner[b] == peak for b in basin.values()) for peak in objects}
    largest = max(objects, key=lambda peak: area[peak], default=None)  # the first on ties
    kept = [p for p in objects if area[p] >= min_area * values.size or p == largest]
    labels = np.zeros(values.shape, dtype=np.int64)
    for pixel, peak in basin.items():
        labels[pixel] = 1 + kept.index(owner[peak]) if owner[peak] in kept else 0
    return labels
