"""Self-enhancement maps (SEM, Sec. 3.2) for one map."""

import numpy as np

from tests.references.correlation import cosines
from tests.references.normalize import minmax
from tests.references.resize import resize


def seeds(cam, num_seeds):
    """Indices of the largest values, the first in raster order among equals."""
    flat = cam.reshape(-1)
    return sorted(range(flat.size), key=lambda i: (-flat[i], i))[:num_seeds]


def similarity(cam, layers, num_seeds):
    """(size, best summed cosine of each pixel to a seed), before the rescaling."""
    size = max(f.shape[1] for f in layers), max(f.shape[2] for f in layers)
    S = sum(cosines(np.stack([resize(c, size) for c in f])) for f in layers)
    chosen = seeds(resize(cam, size), num_seeds)
    best = np.array([max(S[i, k] for k in chosen) for i in range(len(S))])
    return best.reshape(size)


def sem(cam, layers, num_seeds):
    return minmax(similarity(cam, layers, num_seeds))
