"""Thinning pixel by pixel, matching by a dense assignment, figures as exact fractions."""

from fractions import Fraction

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.optimize import linear_sum_assignment

# East, then counter-clockwise.
NEIGHBOURS = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]


def goes(image, y, x, second):
    """Guo and Hall's conditions G1, G2 and G3 for one set pixel of a padded image."""
    p = [None] + [bool(image[y + down, x + right]) for down, right in NEIGHBOURS]
    p.append(p[1])  # x9 is x1 again
    crossings = sum((not p[2 * i - 1]) and (p[2 * i] or p[2 * i + 1]) for i in range(1, 5))
    first_pairs = sum(p[2 * i - 1] or p[2 * i] for i in range(1, 5))
    second_pairs = sum(p[2 * i] or p[2 * i + 1] for i in range(1, 5))
    south_east, north_west = (
        (p[2] or p[3] or not p[8]) and p[1],
        (p[6] or p[7] or not p[4]) and p[5],
    )
    closed = north_west if second else south_east
    return crossings == 1 and 2 <= min(first_pairs, second_pairs) <= 3 and not closed


def thin(mask):
    image = np.pad(mask, 1)
    while True:
        before = image.copy()
        for second in (False, True):
            gone = [pixel for pixel in np.argwhere(image) if goes(image, *pixel, second)]
            for y, x in gone:
                image[y, x] = False
        if np.array_equal(image, before):
            return image[1:-1, 1:-1]


def distances(predicted, target):
    first, second = np.argwhere(predicted), np.argwhere(target)
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(-1))


def assignment(predicted, target, radius):
    """Size and total distance of the best matching: a dense table with a price for staying alone."""
    table = distances(predicted, target)
    n, m = table.shape
    alone = 1e4
    costs = np.full((n + m, n + m), alone)
    costs[:n, :m] = np.where(table <= radius + 1e-9, table, 1e9)
    costs[n:, m:] = 0
    rows, columns = linear_sum_assignment(costs)
    real = (rows < n) & (columns < m)
    return int(real.sum()), float(table[rows[real], columns[real]].sum())


def suppress(edges, sigma=2.0):
    """Keep what is not smaller than both values one pixel away across the edge."""
    height, width = edges.shape
    smooth = gaussian_filter(np.pad(edges, 12, mode="edge"), sigma, mode="nearest")[11:-11, 11:-11]
    out = np.zeros_like(edges)
    for y in range(height):
        for x in range(width):
            s = smooth[y : y + 3, x : x + 3]
            xx, yy = s[1, 2] - 2 * s[1, 1] + s[1, 0], s[2, 1] - 2 * s[1, 1] + s[0, 1]
            xy = (s[2, 2] + s[0, 0] - s[0, 2] - s[2, 0]) / 4
            curvatures, directions = np.linalg.eigh([[xx, xy], [xy, yy]])
            across = directions[:, np.abs(curvatures).argmax()]
            ends = np.array([[y + across[1], y - across[1]], [x + across[0], x - across[0]]])
            beside = map_coordinates(edges, ends, order=1, mode="nearest")
            if edges[y, x] * (1 + 1e-12) >= beside.max():
                out[y, x] = edges[y, x]
    return out


def divided(part, whole):
    return Fraction(int(part), int(whole)) if whole else Fraction(0)


def figures(counts):
    """P, R and F of four counts."""
    precision, recall = divided(counts[0], counts[1]), divided(counts[2], counts[3])
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total else Fraction(0)


def score(counts, thresholds):
    """ODS, its threshold, OIS and AP of counts (B, 4, T)."""
    pooled = counts.sum(0)
    curve = [figures(pooled[:, t]) for t in range(len(thresholds))]
    best = max(curve, key=lambda point: point[2])
    chosen = np.zeros(4, np.int64)
    for image in counts:
        scores = [figures(image[:, t])[2] for t in range(len(thresholds))]
        last = max(t for t, value in enumerate(scores) if value == max(scores))
        chosen += image[:, last]
    points = {}
    for t, (precision, recall, _) in enumerate(curve):
        if pooled[1, t]:
            points[recall] = max(precision, points.get(recall, Fraction(0)))
    average = sum((at(points, Fraction(k, 100)) for k in range(1, 101)), Fraction(0)) / 100
    return best[2], thresholds[curve.index(best)], figures(chosen)[2], average


def at(points, recall):
    """Precision on straight lines between points {recall: precision}."""
    above = [known for known in points if known >= recall]
    below = [known for known in points if known <= recall]
    if not above:
        return Fraction(0)
    if not below:
        return points[min(above)]
    low, high = max(below), min(above)
    if low == high:
        return points[low]
    share = (recall - low) / (high - low)
    return points[low] + share * (points[high] - points[low])
