"""Masks as Label Studio's brush has them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wsolrefine.export.records import Mask

SIZES = (4, 8, 12, 16)
"""Bits of the numbers of pixels of a run; each run takes the fewest that are enough."""

CHANNELS = 4
"""Label Studio keeps red, green, blue and alpha of each pixel, all of them 0 or 255."""


def brush(mask: Mask) -> list[int]:
    """Return a mask ``(H, W)`` as the bytes of Label Studio's run lengths.

    The head has the number of values (32 bits), the bits of a value less 1 (5 bits), and those of
    the four sizes of runs less 1 (4 bits each). A run is a 1, the number of its size (2 bits), its
    length less 1, and the value. Values are row by row.

    Example:
        >>> import numpy as np
        >>> brush(np.array([[True]]))
        [0, 0, 0, 4, 57, 189, 252, 63, 240]

    """
    writer = _Bits()
    writer.add(mask.size * CHANNELS, 32)
    writer.add(7, 5)
    for size in SIZES:
        writer.add(size - 1, 4)
    for value, length in _runs(mask):
        left = length * CHANNELS
        while left:
            now = min(left, 2 ** SIZES[-1])
            number = next(i for i, size in enumerate(SIZES) if now <= 2**size)
            writer.add(1, 1)
            writer.add(number, 2)
            writer.add(now - 1, SIZES[number])
            writer.add(255 if value else 0, 8)
            left -= now
    return writer.content()


def _runs(mask: Mask) -> Iterator[tuple[bool, int]]:
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        yield bool(flat[start]), length


class _Bits:
    """Bits, one after the other; the last byte is filled up with zeros."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def add(self, value: int, bits: int) -> None:
        self._parts.append(f"{value:0{bits}b}")

    def content(self) -> list[int]:
        text = "".join(self._parts)
        text += "0" * (-len(text) % 8)
        return list(int(text, 2).to_bytes(len(text) // 8, "big"))
