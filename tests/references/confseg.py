"""Confidence segmentation (CSoA, Eqs 2 to 4 and 7) for one map."""

import numpy as np


def means(cam):
    """mu1, the mean, and mu2, the mean distance from it."""
    mu1 = sum(float(v) for v in cam.reshape(-1)) / cam.size
    return mu1, sum(abs(float(v) - mu1) for v in cam.reshape(-1)) / cam.size


def mask(cam):
    """Eq. 3: far from the mean; and how far each pixel is from changing sides."""
    mu1, mu2 = means(cam)
    distance = np.abs(cam - mu1)
    return distance > mu2, np.abs(distance - mu2)
