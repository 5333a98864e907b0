"""One-to-one matching of boundary pixels within a distance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsolrefine._check import check_boolean, check_values
from wsolrefine._options import check_number
from wsolrefine.metrics._bipartite import largest_matching

Mask = npt.NDArray[np.bool_]


def match_boundaries(
    predicted: Tensor, target: Tensor, *, tolerance: float = 0.0075
) -> tuple[Tensor, Tensor]:
    """Match predicted to true boundary pixels, one to one and no farther apart than a tolerance.

    There are as many pairs as possible and, among all ways to form that many, the total distance is
    smallest. The number of pairs is therefore unique; the choice among pixels of equal distance may
    not be.

    Args:
        predicted: boolean masks, ``(B, H, W)``. Lines should be one pixel wide, see
            :func:`wsolrefine.thin`.
        target: boolean masks of the same shape.
        tolerance: largest distance between the centers of two pixels of a pair, as a fraction of
            the image's diagonal ``sqrt(H^2 + W^2)``. 0: only the same pixel.

    Returns:
        Two boolean tensors ``(B, H, W)``: matched pixels of ``predicted`` and of ``target``, as
        many of one as of the other. Computed on the CPU, returned on the device of ``predicted``.

    Raises:
        TypeError: a mask is not boolean, or ``tolerance`` is not a number.
        ValueError: shapes disagree, or ``tolerance`` is not a finite number >= 0.

    Example:
        >>> import torch
        >>> predicted = torch.tensor([[[1, 1, 1, 0, 0, 0]]]).bool()
        >>> target = torch.tensor([[[0, 0, 1, 1, 0, 0]]]).bool()
        >>> [some.int().tolist() for some in match_boundaries(predicted, target, tolerance=0.2)]
        [[[[0, 1, 1, 0, 0, 0]]], [[[0, 0, 1, 1, 0, 0]]]]

    Reference:
        Martin, Fowlkes and Malik, "Learning to Detect Natural Image Boundaries Using Local
        Brightness, Color, and Texture Cues", PAMI 2004, Sec. 4.1 and appendix.

    """
    check_values(predicted=predicted, target=target)
    check_boolean(predicted=(predicted, "B H W"), target=(target, "B H W"))
    tolerance = checked_tolerance(tolerance)
    matched: list[Mask] = []
    for one, other in zip(predicted.cpu().numpy(), target.cpu().numpy(), strict=True):
        matched += Pairs(one, other, tolerance).matched(one)
    if not matched:
        return predicted.clone(), predicted.clone()
    both = torch.from_numpy(np.stack(matched)).to(predicted.device)
    return both[0::2], both[1::2]


class Pairs:
    """All pairs of a pixel that may be predicted with a true boundary pixel near it.

    Found once per image: each threshold takes the rows of its own pixels.
    """

    def __init__(self, wanted: Mask, target: Mask, tolerance: float) -> None:
        from scipy.sparse import csr_array

        height, width = target.shape
        # A pair at exactly this distance counts, whatever the rounding.
        squared = min(tolerance, 1.0) ** 2 * (height**2 + width**2) * (1 + 1e-9)
        reach_y, reach_x = (min(math.isqrt(int(squared)), size - 1) for size in target.shape)
        rows, columns = target.nonzero()
        padded = np.pad(wanted, ((reach_y, reach_y), (reach_x, reach_x)))
        pixels, numbers, distances = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
        for y, x in np.ndindex(2 * reach_y + 1, 2 * reach_x + 1):
            away = (y - reach_y) ** 2 + (x - reach_x) ** 2
            if away > squared:
                continue
            number = padded[rows + y, columns + x].nonzero()[0]
            pixels.append((rows[number] + y - reach_y) * width + columns[number] + x - reach_x)
            numbers.append(number)
            distances.append(np.full(len(number), math.sqrt(away)))
        ends = np.concatenate(pixels), np.concatenate(numbers)
        self.target = target
        self.distances = csr_array(
            (np.concatenate(distances), ends), shape=(target.size, len(rows))
        )

    def counts(self, predicted: Mask) -> list[int]:
        """Return for each mask of ``(T, H, W)`` the largest number of pairs that share no pixel.

        Each search starts from the pairs of the next mask, which shares most of its pixels.
        """
        numbers = []
        mate = np.full(self.target.size, -1)
        for mask in predicted[::-1]:
            pixels = mask.ravel().nonzero()[0]
            found = largest_matching(self.distances[pixels], mate[pixels])
            mate = np.full(self.target.size, -1)
            mate[pixels] = found
            numbers.append(int((found >= 0).sum()))
        return numbers[::-1]

    def matched(self, predicted: Mask) -> tuple[Mask, Mask]:
        """Return the pixels of ``predicted`` and of the target that form the best pairs."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, vstack

        first, second = np.zeros(predicted.shape, bool), np.zeros(predicted.shape, bool)
        pixels = predicted.ravel().nonzero()[0]
        near = self.distances[pixels].tocoo()
        if near.nnz == 0:
            return first, second
        row, column = near.row, near.col
        # One variable per pair, 0 to 1; those of a pixel add up to 1 at most. The corners of this
        # polytope are integers, since the graph is bipartite, and simplex ends in a corner. One
        # more pair is worth more than any change of distances that it causes.
        worth = (1 + near.data.max()) * (1 + min(near.shape))
        pair, one = np.arange(near.nnz), np.ones(near.nnz)
        at_most_one = vstack(
            [
                csr_array((one, (end, pair)), shape=(count, near.nnz))
                for end, count in zip((row, column), near.shape, strict=True)
            ]
        )
        best = linprog(
            near.data - worth,
            A_ub=at_most_one,
            b_ub=np.ones(sum(near.shape)),
            bounds=(0, 1),
            method="highs-ds",
        )
        taken = best.x > 0.5
        first.ravel()[pixels[row[taken]]] = True
        second.ravel()[self.target.ravel().nonzero()[0][column[taken]]] = True
        return first, second


def checked_tolerance(tolerance: float) -> float:
    """Return the tolerance, or raise unless it is a finite number >= 0."""
    return check_number("tolerance", tolerance, low=0)
