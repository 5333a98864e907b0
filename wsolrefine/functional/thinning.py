"""Thinning of masks to lines one pixel wide, many masks at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_boolean, check_values

WORD = 64
"""Number of masks thinned together: each is one bit of an int64, so one operation handles all."""

# East, then counter-clockwise, as (row, column): the paper's x1 ... x8.
_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: Tensor) -> Tensor:
    """Thin each mask to lines one pixel wide, without breaking or shortening its components.

    Pixels are removed from the south-east and the north-west in turn until none is left to remove.
    A pixel is removed if all three conditions on its eight neighbors x1 ... x8 (east, then
    counter-clockwise) hold: exactly one run of set neighbors touches it (otherwise it connects two
    parts); it has 2 or 3 neighbors in the smaller count of pairs (otherwise it is an end, or in
    the interior); it is open on the side that is being peeled.

    Args:
        mask: boolean masks, ``(B, H, W)``. Pixels outside the image count as not set.

    Returns:
        Boolean masks of the same shape: a subset of the pixels that were set. Not differentiable; a
        GPU synchronizes in each round.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``mask`` has another number of axes, or no values (meta device).

    Example:
        >>> import torch
        >>> thin(torch.tensor([[[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]]).bool()).int()
        tensor([[[0, 0, 0, 0, 0],
                 [0, 1, 1, 1, 0],
                 [0, 0, 0, 0, 0]]], dtype=torch.int32)

    Reference:
        Guo and Hall, "Parallel Thinning with Two-Subiteration Algorithms", CACM 1989, the first of
        the two; the BSDS benchmark uses it too.

    """
    check_boolean(mask=(mask, "B H W"))
    check_values(mask=mask)
    if not len(mask):
        return mask.clone()
    words = _pack(F.pad(mask, (1, 1, 1, 1)))
    flat = words.flatten()
    stride = mask.shape[2] + 2
    ring = torch.tensor([row * stride + column for row, column in _RING], device=mask.device)
    # A pixel depends on its neighbors alone: test it again only where one of them has changed.
    touched = torch.empty_like(flat, dtype=torch.bool)
    at = removed = flat.nonzero()[:, 0]
    turn = 0
    while len(at):
        before = flat[at]
        after = before & ~_removable(flat[at + ring[:, None]], turn)
        flat[at] = after
        removed_before, removed = removed, at[after != before]
        # The other side was tested one turn ago, before both of these removals.
        touched.zero_()
        touched[(torch.cat([removed_before, removed]) + ring[:, None]).flatten()] = True
        at = (touched & (flat != 0)).nonzero()[:, 0]
        turn = 4 - turn
    return _unpack(flat.reshape(words.shape), len(mask))[:, 1:-1, 1:-1]


def _removable(x: Tensor, turn: int) -> Tensor:
    """Return which pixels to remove, by neighbors ``(8, n)``; turn 0 peels the south-east."""
    # A run of set neighbors begins after an unset edge neighbor: exactly one of the four.
    a, b, c, d = (~x[i] & (x[i + 1] | x[(i + 2) % 8]) for i in (0, 2, 4, 6))
    one_run = ((a ^ b) & ~(c | d)) | ((c ^ d) & ~(a | b))
    # Pairs of neighbors, starting at x1 or at x2: 2 or more set in both, but not 4 in both.
    (two, four), (two_too, four_too) = _pairs(x), _pairs(x.roll(-1, 0))
    few = two & two_too & ~(four & four_too)
    closed = (x[1 + turn] | x[2 + turn] | ~x[(7 + turn) % 8]) & x[turn]
    return one_run & few & ~closed


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether at least two, and whether all four, pairs of neighbors have a set pixel."""
    a, b, c, d = x[0::2] | x[1::2]
    return (a & b) | (c & d) | ((a | b) & (c | d)), a & b & c & d


def _pack(mask: Tensor) -> Tensor:
    """Return masks ``(B, H, W)`` as bits of ``(ceil(B / WORD), H, W)`` int64."""
    words = mask.new_zeros(-(-len(mask) // WORD), *mask.shape[1:], dtype=torch.int64)
    for i, one in enumerate(mask):
        words[i // WORD] |= one.long() << (i % WORD)
    return words


def _unpack(words: Tensor, count: int) -> Tensor:
    bit = torch.arange(WORD, device=words.device)[:, None, None]
    return ((words[:, None] >> bit) & 1).bool().flatten(0, 1)[:count]
