"""Average precision and IoU curves of pixels by brute force: one comparison for each cut."""

from fractions import Fraction

import numpy as np


def binned(scores, thresholds):
    """The bin of each score: how many of thresholds, 1, 2 and 3 it reaches."""
    edges = np.array([*thresholds, 1.0, 2.0, 3.0])
    return (np.asarray(scores, np.float64)[..., None] >= edges).sum(-1) - 1


def ranked_average_precision(levels, objects):
    """AP of a ranking: sort, then at the last pixel of each run of equal ones add P times gain in R.

    ``levels`` are whole numbers (n,), ``objects`` booleans (n,), at least one of them true. Exact.
    """
    order = np.argsort(-levels, kind="stable")
    levels, objects = levels[order], objects[order]
    total, found, average, before = int(objects.sum()), 0, Fraction(0), 0
    for i in range(len(levels)):
        found += int(objects[i])
        if i + 1 == len(levels) or levels[i + 1] != levels[i]:
            average += Fraction(found, i + 1) * Fraction(found - before, total)
            before = found
    return average


def gray_levels(score_map):
    """One map min-maxed and cut to 8 bits; zeros where that is undefined."""
    values = np.asarray(score_map, np.float64)
    if not np.isfinite(values).all():
        return np.zeros(values.shape, np.int64)
    low, high = values.min(), values.max()
    return np.floor(255 * ((values - low) / (high - low + 1e-10))).astype(np.int64)


def iou_curve(levels, objects, threshold_count=256):
    """Exact IoU of ``levels >= T`` and ``objects`` for each T; None where both are empty."""
    curve = []
    for threshold in range(threshold_count):
        predicted = levels >= threshold
        union = int((predicted | objects).sum())
        both = int((predicted & objects).sum())
        curve.append(Fraction(both, union) if union else None)
    return curve


def mean_curve(curves):
    """Mean over images of curves at each T, without the None; None where there is nothing else."""
    means = []
    for values in zip(*curves, strict=True):
        known = [value for value in values if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means
