"""Feature affinity and label spreading of one image, by the dense formulas."""

import numpy as np

from tests.references.normalize import minmax
from tests.references.resize import resize


def _pool(values, size):
    """Adaptive average pooling of (H, W), one cell at a time."""
    out = np.empty(size)
    for row in range(size[0]):
        for column in range(size[1]):
            ends = [
                (i * have // want, -(-(i + 1) * have // want))
                for i, have, want in zip((row, column), values.shape, size, strict=True)
            ]
            out[row, column] = values[slice(*ends[0]), slice(*ends[1])].mean()
    return out


def on_grid(layer, size):
    finest = (min(layer.shape[1], size[0]), min(layer.shape[2], size[1]))
    layer = np.stack([_pool(channel, finest) for channel in layer])
    return np.stack([resize(channel, size) for channel in layer])


def centered(maps):
    """Subtract the mean of each (h, w); what is zero up to rounding is zero."""
    out = maps - maps.mean(axis=(1, 2), keepdims=True)
    rounding = 8 * np.finfo(maps.dtype).eps * np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.where(np.abs(out) > rounding, out, 0)


def feature_affinity(layers, size, power):
    """List of (C, h, w) -> (N, N)."""
    vectors = []
    for layer in layers:
        x = centered(on_grid(layer, size)).reshape(len(layer), -1)
        deviation = np.sqrt((x**2).mean(axis=1, keepdims=True))
        if x.any():
            x = x / (deviation + 1e-3 * deviation.mean())
            x = x / np.sqrt((x**2).sum(axis=0).mean())
        vectors.append(x)
    x = np.concatenate(vectors)
    length = np.linalg.norm(x, axis=0)
    unit = x / np.where(length > 0, length, 1)
    return np.clip(unit.T @ unit, 0, 1) ** power


def label_spreading(cam, layers, image, alpha, size):
    """(H, W), list of (C, h, w), (3, H', W') or None -> (h, w) on the grid."""
    affinity = feature_affinity(layers, size, 3)
    if image is not None:
        c = centered(on_grid(image, size)).reshape(len(image), -1)
        length = np.sqrt((c**2).sum(axis=0).mean())
        c = c / length if length > 0 else c
        apart = ((c[:, :, None] - c[:, None, :]) ** 2).sum(axis=0)
        affinity = affinity * np.exp(-apart / 2)
    degree = affinity.sum(axis=1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 1)
    spread = np.eye(len(affinity)) - alpha * scale[:, None] * affinity * scale
    s = minmax(resize(minmax(np.maximum(cam, 0)), size)).reshape(-1)
    if not s.any():
        return np.zeros(size)
    border = np.ones(size)
    border[1:-1, 1:-1] = 0
    seeds = [s**2, (1 - s) ** 2 * (0.3 + border.reshape(-1))]
    found = [np.linalg.solve(spread, seed / (seed.sum() or 1)) for seed in seeds]
    inside, outside = (np.maximum(one, 0) for one in found)
    total = inside + outside
    return (inside / np.where(total > 0, total, 1)).reshape(size)
