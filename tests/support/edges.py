"""Masks with winding outlines, and soft maps with ridges, to be thinned, suppressed and matched."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter


def blobs(seed, *, batch=3, size=(24, 31), sigma=1.5):
    values = np.random.default_rng(seed).random((batch, *size))
    smooth = gaussian_filter(values, (0, sigma, sigma))
    return torch.from_numpy(smooth > np.median(smooth, (1, 2), keepdims=True))


def soft(seed, *, batch=2, size=(16, 21), sigma=1.2):
    values = gaussian_filter(
        np.random.default_rng(seed).random((batch, *size)), (0, sigma, sigma), mode="nearest"
    )
    low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
    return torch.from_numpy((values - low) / (high - low))
