"""Pixel-adaptive mask refinement, one pixel and one neighbor at a time."""

import numpy as np


def _neighbors(row, column, size, dilations):
    """Positions of the 8 neighbors at each distance; beyond the border the border is repeated."""
    for step in dilations:
        for down in (-step, 0, step):
            for right in (-step, 0, step):
                if down or right:
                    yield (
                        min(max(row + down, 0), size[0] - 1),
                        min(max(column + right, 0), size[1] - 1),
                    )


def pamr(map, image, iterations, dilations):
    """(H, W), (C, H, W) -> (H, W)."""
    size = map.shape
    positions = [(row, column) for row in range(size[0]) for column in range(size[1])]
    around = {at: list(_neighbors(*at, size, dilations)) for at in positions}
    weights = {}
    for at in positions:
        here = image[(slice(None), *at)]
        there = np.stack([image[(slice(None), *other)] for other in around[at]])
        # The pixel itself counts once for each dilation.
        window = np.concatenate([there, np.stack([here] * len(dilations))])
        deviation = window.std(axis=0, ddof=1)
        least = 8 * np.finfo(image.dtype).eps * np.abs(image).max(axis=(1, 2))
        k = np.zeros(len(there))
        for color in range(len(image)):
            if deviation[color] > least[color]:
                apart = np.abs(there[:, color] - here[color])
                k -= 10 * apart / deviation[color] / len(image)
        weights[at] = np.exp(k - k.max()) / np.exp(k - k.max()).sum()
    for _ in range(iterations):
        means = np.empty_like(map)
        for at in positions:
            values = np.array([map[other] for other in around[at]])
            means[at] = weights[at] @ values
        map = means
    return map
