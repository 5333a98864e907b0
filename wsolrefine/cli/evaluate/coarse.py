"""Score maps that are too coarse for the boxes and masks that they are compared with."""

from __future__ import annotations

PROTOCOL = 224
"""Side in pixels to which wsolevaluation resizes score maps."""

REFUSED, NAMED = 8, 4
"""A side below this fraction (1/8, 1/4) of the protocol's, or of the image's if that is smaller."""


def is_coarser(size: tuple[int, int], image: tuple[int, int], parts: int) -> bool:
    """Tell whether a map has a side below one of so many parts of its image, or of 224 pixels.

    True boxes are truncated to whole cells of the map: on 1 x 1 cells every box is right, and on a
    few cells many are. A map as large as its image is never coarse.

    Args:
        size: (height, width) of the map.
        image: (height, width) of the image.
        parts: how many.

    Example:
        >>> [is_coarser((side, side), (375, 500), 8) for side in (27, 28)]
        [True, False]
        >>> is_coarser((9, 9), (9, 9), 1)
        False

    """
    return any(parts * cells < min(side, PROTOCOL) for cells, side in zip(size, image, strict=True))
