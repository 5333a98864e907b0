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
    return _above_mean(first.T @ (first @ start), start, np.ones(len(start)), size)


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
    start = _centered_cam(cam, size)
    return _above_mean(second @ (second.T @ start), start, degree, size)


def _centered_cam(cam, size):
    start = minmax(resize(minmax(cam), size)).reshape(-1)
    return start - start.mean()


def _above_mean(map, start, degree, size):
    """What exceeds the mean, min-maxed, unless the map is zero beside the CAM it is made of."""
    if np.sqrt(degree @ map**2) <= _EQUAL * np.sqrt((start**2 / degree).sum()):
        return np.zeros(size)
    return minmax(np.maximum(map - map.mean(), 0).reshape(size))
