"""Several objects in one map: a watershed from its prominent peaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_number
from wsolrefine.functional._numeric import working

Array = npt.NDArray[Any]


def instance_labels(
    maps: Tensor, *, threshold: float, min_prominence: float = 0.3, min_area: float = 0.01
) -> Tensor:
    """Split what is above a threshold into objects: one for each prominent peak of a map.

    Every pixel above the threshold climbs to the brightest of its eight neighbors until it reaches
    a peak. The pixels of a peak are its basin. Two basins touch at a saddle, the highest level at
    which a path leads from one to the other. From the highest saddle to the lowest, the basin of
    the lower peak is joined to the other one if

        lower peak - saddle <= min_prominence.

    So an object remains for each peak from which no path leads to a higher one without going down
    by more than ``min_prominence``. This is the watershed of the map from its h-maxima, with h =
    ``min_prominence``. Two objects may touch. With a prominence above the range of the map, the
    objects are the connected components.

    Args:
        maps: maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``.
        threshold: value above which a pixel belongs to an object. NaN never does.
        min_prominence: h, at least 0, in the unit of the map; 0 keeps every peak.
        min_area: objects with fewer pixels than this fraction of the map, in [0, 1], become
            background, except the largest one of a map. 0 keeps all.

    Returns:
        Labels, int64, same shape: 0 for background, objects from 1 by descending peak. Each object
        is 8-connected. Of equal values the first in reading order counts as the higher one.
        Infinity counts as the largest finite number. Not differentiable; a GPU synchronizes.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor, or an option is not a number.
        ValueError: ``maps`` has another number of axes, an empty height or width or no values (meta
            device), or an option is out of range.

    Example:
        >>> import torch
        >>> instance_labels(torch.tensor([[[0.6, 0.8, 0.5, 0.4, 1.0, 0.2]]]), threshold=0.3)
        tensor([[[2, 2, 2, 1, 1, 0]]])
        >>> instance_labels(torch.tensor([[[0.6, 0.8, 0.7, 0.6, 1.0, 0.2]]]), threshold=0.3)
        tensor([[[1, 1, 1, 1, 1, 0]]])

    Reference:
        Grimaud, "A New Measure of Contrast: the Dynamics", 1992, for the choice of the peaks;
        Chazal et al., "Persistence-Based Clustering in Riemannian Manifolds", J. ACM 2013, for the
        algorithm.

    """
    check_tensors(maps=(maps, "B [K] H W"))
    check_values(maps=maps)
    threshold = check_number("threshold", threshold)
    min_prominence = check_number("min_prominence", min_prominence, low=0)
    min_area = check_number("min_area", min_area, low=0, high=1)
    values = working(maps.detach())
    values = values.clamp_max(torch.finfo(values.dtype).max)
    values = values.masked_fill(~(maps > threshold), -torch.inf).flatten(0, -3).cpu()
    basin, peaks = _basins(values)
    height = values.flatten().numpy()[peaks]
    joined = _join(height, _saddles(values.numpy(), basin), min_prominence)
    area = np.bincount(joined[basin[basin >= 0]], minlength=len(peaks))
    pixels = maps.shape[-2] * maps.shape[-1]
    number = _number(joined, height, area, peaks // pixels, min_area * pixels)
    return torch.from_numpy(number[basin]).reshape(maps.shape).to(maps.device)


def _basins(values: Tensor) -> tuple[Array, Array]:
    """Return the basin of each pixel, -1 where the value is -inf, and the pixel of each peak.

    Pixels and basins are counted in reading order over the whole batch ``(B, H, W)``.
    """
    maps, height, width = values.shape
    # The index of the largest value around each pixel: of equal ones, the first.
    up = F.max_pool2d(values[:, None], 3, 1, 1, return_indices=True)[1].flatten(1)
    peak = (up + torch.arange(maps)[:, None] * (height * width)).flatten().numpy()
    while not np.array_equal(higher := peak[peak], peak):  # twice as far each time
        peak = higher
    inside = values.flatten().numpy() > -np.inf
    is_peak = inside & (peak == np.arange(peak.size))
    basin = np.where(inside, (is_peak.cumsum() - 1)[peak], -1)
    return basin, is_peak.nonzero()[0]


def _saddles(values: Array, basin: Array) -> list[tuple[float, int, int]]:
    """Return level and basins of the highest saddle of each pair of basins, highest first."""
    level = values.ravel()
    pixel = np.arange(values.size).reshape(values.shape)
    owner = basin.reshape(values.shape)
    all_but_last, all_but_first, every = slice(-1), slice(1, None), slice(None)
    neighbors = [  # of each pair, the first in reading order comes first
        ((every, all_but_last), (every, all_but_first)),
        ((all_but_last, every), (all_but_first, every)),
        ((all_but_last, all_but_last), (all_but_first, all_but_first)),
        ((all_but_last, all_but_first), (all_but_first, all_but_last)),
    ]
    crossing = []
    for before, after in neighbors:
        one, other = owner[:, *before], owner[:, *after]
        at = (one != other) & (one >= 0) & (other >= 0)
        crossing.append((pixel[:, *before][at], pixel[:, *after][at]))
    first, second = (np.concatenate(side) for side in zip(*crossing, strict=True))
    falls = level[first] >= level[second]  # of equal values the first counts as the higher one
    high, low = np.where(falls, first, second), np.where(falls, second, first)
    # By the lower pixel, then by the higher one: without equal values, flips change nothing.
    order = np.lexsort((high, -level[high], low, -level[low]))
    low, high = low[order], high[order]
    one, other = basin[low], basin[high]
    pair = np.minimum(one, other) * (basin.max(initial=0) + 1) + np.maximum(one, other)
    kept = np.sort(np.unique(pair, return_index=True)[1])
    found = level[low][kept].tolist(), one[kept].tolist(), other[kept].tolist()
    return list(zip(*found, strict=True))


def _join(height: Array, saddles: list[tuple[float, int, int]], min_prominence: float) -> Array:
    """Return for each basin the one that it belongs to: that of the object's peak."""
    heights, root = height.tolist(), list(range(len(height)))

    def root_of(basin: int) -> int:
        while root[basin] != basin:
            root[basin] = basin = root[root[basin]]  # path halving
        return basin

    for level, one, other in saddles:
        a, b = sorted((root_of(one), root_of(other)))
        low, high = (b, a) if heights[a] >= heights[b] else (a, b)
        if heights[low] - level <= min_prominence:
            root[low] = high
    return np.array([root_of(basin) for basin in range(len(root))], dtype=np.int64)


def _number(joined: Array, height: Array, area: Array, map: Array, least: float) -> Array:
    """Return the label of each basin, and of background as the last entry."""
    objects = (joined == np.arange(len(joined))).nonzero()[0]
    objects = objects[np.lexsort((-height[objects], map[objects]))]  # stable: in reading order
    by_area = objects[np.lexsort((-area[objects], map[objects]))]
    largest = by_area[np.unique(map[by_area], return_index=True)[1]]
    kept = objects[(area[objects] >= least) | np.isin(objects, largest)]
    number = np.zeros(len(joined) + 1, dtype=np.int64)
    number[kept] = 1 + np.arange(len(kept)) - map[kept].searchsorted(map[kept])
    number[:-1] = number[joined]
    return number
