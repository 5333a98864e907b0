"""Self-enhancement maps (SEM, Sec. 3.2) for one map."""

import numpy as np

from tests.references.correlation import cosines
from tests.references.normalize import minmax
from tests.references.resize import resize


def seeds(values, num_seeds, margin):
    """Indices of the largest values, the first in raster order among those as large as the last."""
    flat = values.reshape(-1)
    last = sorted(flat, reverse=True)[min(num_seeds, flat.size) - 1]
    level = [int(x >= last - margin) + int(x > last + margin) for x in flat]
    return sorted(range(flat.size), key=lambda i: (-level[i], i))[:num_seeds]


def similarity(cam, layers, num_seeds):
    """(size, best summed cosine of each pixel to a seed), before the rescaling."""
    size = max(f.shape[1] for f in layers), max(f.shape[2] for f in layers)
    S = sum(cosines(np.stack([resize(c, size) for c in f])) for f in layers)
    # Resizing makes values equal up to rounding: here 2^-19 of the range, as rounding of float64
    # itself is too small to matter.
    margin = 0.0 if cam.shape == size else 2**-19 * (cam.max() - cam.min())
    chosen = seeds(resize(cam, size), num_seeds, margin)
    best = np.array([max(S[i, k] for k in chosen) for i in range(len(S))])
    return best.reshape(size)


def sem(cam, layers, num_seeds):
    return minmax(similarity(cam, layers, num_seeds))
