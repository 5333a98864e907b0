"""First principal component and normalized cut of one image, by full decompositions."""

import numpy as np
import scipy.linalg

from tests.references.correlation import cosines
from tests.references.label_spreading import centered, on_grid
from tests.references.normalize import minmax
from tests.references.resize import resize

_EQUAL = 1e-12  # eigenvalues, relative to the largest: the references compute in float64


def pc1(cam, layers, size):
    """(H, W), list of (C, h, w) -> (h, w) on the grid."""
    vectors = []
    for layer in layers:
        x = centered(on_grid(layer, size)).reshape(len(layer), -1)
        length = np.sqrt((x**2).sum(axis=0).mean())
        vectors.append(x / length if length > 0 else x)
    _, singular, rows = np.linalg.svd(np.concatenate(vectors))
    variances = np.zeros(len(rows))
    variances[: len(singular)] = singular**2
    if variances[0] <= _EQUAL:
        return np.zeros(size)
    first = rows[variances >= variances[0] * (1 - _EQUAL)]
    start = _centered_cam(cam, size)
    return _above_mean(first.T @ (first @ start), start, size)


def ncut(cam, layers, size, threshold):
    """(H, W), list of (C, h, w) -> (h, w) on the grid."""
    similar = sum(cosines(on_grid(layer, size)) for layer in layers) / len(layers)
    edges = np.where(similar >= threshold, 1.0, 1e-5)
    degree = np.diag(edges.sum(axis=1))
    if len(edges) == 1:
        return np.zeros(size)
    values, vectors = scipy.linalg.eigh(degree - edges, degree)
    if values[1] >= 1 - _EQUAL:
        return np.zeros(size)  # all positions are alike: no cut is better than another
    second = vectors[:, 1:][:, values[1:] <= values[1] + _EQUAL]
    start = _centered_cam(cam, size)
    return _above_mean(second @ (second.T @ start), start, size)


def _centered_cam(cam, size):
    start = resize(minmax(cam), size).reshape(-1)
    return start - start.mean()


def _above_mean(map, start, size):
    """What exceeds the mean, min-maxed, unless the correlation with the CAM is zero."""
    apart = map - map.mean()
    lengths = np.linalg.norm(apart) * np.linalg.norm(start)
    if apart @ start <= _EQUAL * lengths:
        return np.zeros(size)
    return minmax(np.maximum(apart, 0).reshape(size))
