"""Min-max rescaling of one map."""

import numpy as np


def minmax(values):
    """(H, W) -> [0, 1]; constant up to rounding, or not finite: zeros."""
    if not np.isfinite(values).all():
        return np.zeros_like(values)
    low, high = values.min(), values.max()
    if high - low <= 8 * np.finfo(values.dtype).eps * max(abs(low), abs(high)):
        return np.zeros_like(values)
    return (values - low) / (high - low)


def every_map(function, maps):
    """Apply ``function`` to each (H, W) of an array of any leading shape."""
    flat = maps.reshape(-1, *maps.shape[-2:])
    results = np.stack([function(one) for one in flat])
    return results.reshape(*maps.shape[:-2], *results.shape[1:])
