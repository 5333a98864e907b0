"""Smaller or larger copies of the images that a list of sizes describes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low

Size = tuple[int, int]
SIDES: tuple[Callable[[Size], int], ...] = (min, max, lambda size: size[0], lambda size: size[1])
"""What a copy may have in common: the short or the long side, the height or the width."""


class Copies:
    """The scale of each image, where it has the aspect that is listed.

    Boxes are in pixels of the listed sizes, so copies give the same results, as long as the list
    and the boxes were not made for different copies. This cannot be told from one image, but a list
    that mixes scales without any rule is a damaged one.
    """

    def __init__(self) -> None:
        self._pairs: dict[int, tuple[Size, Size]] = {}

    def see(self, index: int, size: Size, listed: Size) -> None:
        """Note the (height, width) of an image and of its entry in the list."""
        self._pairs[index] = size, listed

    @property
    def common(self) -> float:
        """Return the median scale, 1 if nothing was seen."""
        return median_low(map(_scale, self._pairs.values())) if self._pairs else 1.0

    def odd(self) -> list[int]:
        """Return the images whose scale is not that of most others.

        There are none where the images, or the listed sizes, were all resized to one side: then
        every image has a scale of its own. That explains nothing where most have scale 1.
        """
        scale = self.common
        odd = [index for index, pair in self._pairs.items() if not _is_scaled(*pair, scale)]
        return [] if scale != 1 and self._resized_to_one_side() else odd

    def protocol(self) -> str:
        """Return how the images are scaled, as text; "" if none is."""
        scaled = sum(size != listed for size, listed in self._pairs.values())
        if not scaled or (len(self.odd()) == scaled):  # these are named on their own
            return ""
        scales = sorted(map(_scale, self._pairs.values()))
        shown = f"{self.common:.3g} x"
        if self._resized_to_one_side() and scales[-1] > 1.02 * scales[0]:
            shown = f"{scales[0]:.3g} to {scales[-1]:.3g} x"
        return (
            f"of a copy, {shown}, {scaled} of {len(self._pairs)} images; boxes are taken in pixels "
            "of the listed sizes"
        )

    def _resized_to_one_side(self) -> bool:
        columns = zip(*self._pairs.values(), strict=True)
        return any(len({side(size) for size in sizes}) == 1 for sizes in columns for side in SIDES)


def _scale(pair: tuple[Size, Size]) -> float:
    size, listed = pair
    return max(size) / max(listed)


def _is_scaled(size: Size, listed: Size, scale: float) -> bool:
    # Both are rounded to whole pixels, and the scale was measured on an image that is so too.
    return all(
        abs(side - scale * other) <= max(1, scale) + 0.01 * side
        for side, other in zip(size, listed, strict=True)
    )
