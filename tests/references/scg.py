"""Self-correlation map generation (SPA, Eqs 12 to 14) and the released pipeline, for one map."""

import numpy as np

from tests.references.correlation import self_correlation, self_correlation_released
from tests.references.normalize import minmax
from tests.references.resize import resize


def _on_one_grid(layers):
    size = max(f.shape[1] for f in layers), max(f.shape[2] for f in layers)
    return [np.stack([resize(channel, size) for channel in f]) for f in layers], size


def correlation(layers, orders):
    return self_correlation(_on_one_grid(layers)[0], orders)


def scg(cam, layers, orders, foreground, background):
    layers, size = _on_one_grid(layers)
    cam = resize(minmax(cam), size).reshape(-1)
    hsc = self_correlation(layers, orders)
    inside = [i for i in range(len(cam)) if cam[i] > foreground]
    outside = [i for i in range(len(cam)) if cam[i] < background]
    if not inside:
        return np.zeros(size)
    difference = sum(hsc[i] for i in inside) / len(inside)
    if outside:
        difference = difference - sum(hsc[i] for i in outside) / len(outside)
    M = np.maximum(difference, 0.0)
    span = M.max() - M.min()
    if span <= 8 * np.finfo(M.dtype).eps * len(layers):
        return np.zeros(size)
    return ((M - M.min()) / span).reshape(size)


def _rescale(values, spans):
    span = values.max() - values.min()
    if values.any():
        spans.append(span)
    return (values - values.min()) / (span + 1e-10)


def scg_released(cam, layers, hsc_parameters, foreground, background):
    """The map, and the smallest span of anything but zeros that was divided by.

    Next to a span of 1e-9, say, their 1e-10 is no small number, and rounding no small error: then
    the numbers of two faithful implementations differ.
    """
    spans = [1.0]
    layers, size = _on_one_grid(layers)
    cam = resize(cam, size).reshape(-1)
    com = self_correlation_released(layers, **hsc_parameters)
    inside = [j for j in range(len(cam)) if cam[j] >= foreground]
    outside = [j for j in range(len(cam)) if cam[j] <= background]
    if not inside:
        return np.zeros(size), 1.0
    result = _rescale(sum(_rescale(com[:, j], spans) for j in inside), spans)
    if outside:
        background_map = sum(_rescale(com[:, j], spans) for j in outside)
        result = result - _rescale(background_map, spans)
    if com.any() and result.max() < 1e-6:  # object and background look the same
        spans.append(0.0)
    return _rescale(np.maximum(result, 0.0), spans).reshape(size), min(spans)
