"""Masks as run lengths at the size of their image, from the smaller size at which they are made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Mask = npt.NDArray[np.bool_]


class Region(NamedTuple):
    """A mask without its pixels.

    Attributes:
        counts: its run lengths in the compressed text of COCO.
        box: half-open ``x0 y0 x1 y1`` around it.
        area: its pixels.

    """

    counts: str
    box: tuple[float, float, float, float]
    area: int


def run_lengths(mask: Mask, size: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask enlarged to ``size``, without enlarging it.

    They are those of :func:`wsolrefine.localization.masks.enlarge_labels`: pixels of background, of
    object, of background and so on, down each column, from left to right.

    Args:
        mask: ``(h, w)``.
        size: (height, width).

    Example:
        >>> run_lengths(np.array([[False, True], [False, False]]), (4, 4))
        [8, 2, 2, 2, 2]

    """
    height, width = size
    rows = _nearest(len(mask), height)
    across = np.ascontiguousarray(mask.T)[_nearest(mask.shape[1], width)]  # (width, h)
    # Where a column changes, and at which large row that is.
    column, row = np.nonzero(across[:, 1:] != across[:, :-1])
    inside = column * height + rows.searchsorted(row + 1)
    # And where the head of a column differs from the foot of the one before.
    foot = np.concatenate([[False], across[:-1, -1]])
    between = np.flatnonzero(across[:, 0] != foot) * height
    changes = np.sort(np.concatenate([inside, between]))
    lengths: list[int] = np.diff(changes, prepend=0, append=height * width).tolist()
    return lengths


def region(mask: Mask, size: tuple[int, int]) -> Region | None:
    """Return a mask enlarged to ``size`` as run lengths, with box and area; None if it is empty.

    Example:
        >>> mask = np.array([[False, True], [False, False]])
        >>> found = region(mask, (4, 4))
        >>> found.box, found.area
        ((2.0, 0.0, 4.0, 2.0), 4)

    """
    from pycocotools import mask as coco_mask  # type: ignore[import-untyped]

    if not mask.any():
        return None
    lengths = {"counts": run_lengths(mask, size), "size": list(size)}
    runs = coco_mask.frPyObjects(lengths, *size)
    x, y, width, height = (float(value) for value in coco_mask.toBbox(runs))
    counts = runs["counts"].decode("ascii")
    return Region(counts, (x, y, x + width, y + height), int(coco_mask.area(runs)))


def decoded(counts: str, size: tuple[int, int]) -> Mask:
    """Return a mask ``(height, width)`` from the compressed text of COCO.

    Each character has 6 bits, from "0" on: 5 of a number, the lowest first, and one that tells
    whether more follow. From the fourth number on, they are differences to the second before.

    Raises:
        ValueError: the text is none, or of a mask of another size.

    Example:
        >>> decoded("13", (2, 2)).tolist()
        [[False, True], [True, True]]

    """
    lengths: list[int] = []
    value = shift = 0
    for bits in (ord(character) - 48 for character in counts):
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (bits & 16) << (shift - 4)  # the sign: twice the bit that was added
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift or min(lengths, default=0) < 0 or sum(lengths) != size[0] * size[1]:
        raise ValueError(f"counts: expected run lengths of {size} pixels, got {counts!r:.80}")
    colors = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(np.repeat(colors, lengths).reshape(size[::-1]).T)


def _nearest(length: int, enlarged: int) -> npt.NDArray[np.int64]:
    """Return the index from which each pixel of an enlarged axis is taken."""
    index = torch.arange(length, dtype=torch.float32)[None, None]  # exact below 2 ** 24
    return F.interpolate(index, size=enlarged, mode="nearest-exact")[0, 0].long().numpy()
