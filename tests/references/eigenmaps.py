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
    start = _cam_on(cam, size)
    component = first.T @ (first @ start)
    return _above_mean(component, start - start.mean(), np.ones(len(start)), size)


def ncut(cam, layers, size, threshold):
    """(H, W), list of (C, h, w) -> (h, w) on the grid."""
    units = []
    for layer in layers:
        x = on_grid(layer, size)
        length = np.linalg.norm(x, axis=0)
        units.append(x / np.where(length > 0, length, 1))
    edges = np.where(cosines(np.concatenate(units)) >= threshold, 1.0, 1e-5)
    degree = edges.sum(axis=1)
    if len(edges) == 1:
        return np.zeros(size)
    values, vectors = scipy.linalg.eigh(np.diag(degree) - edges, np.diag(degree))
    if values[1] >= 1 - _EQUAL:
        return np.zeros(size)  # all positions are alike: no cut is better than another
    second = vectors[:, 1:][:, values[1:] <= values[1] + _EQUAL]
    start = _cam_on(cam, size)
    start = start - degree @ start / degree.sum()
    return _above_mean(second @ (second.T @ (degree * start)), start, degree, size)


def _cam_on(cam, size):
    return minmax(resize(minmax(cam), size)).reshape(-1)


def _above_mean(map, start, weights, size):
    """What exceeds the mean, min-maxed, unless the weighted correlation with the CAM is zero."""
    lengths = np.sqrt((weights @ map**2) * (weights @ start**2))
    if (weights * map) @ start <= _EQUAL * lengths:
        return np.zeros(size)
    return minmax(np.maximum(map - map.mean(), 0).reshape(size))
