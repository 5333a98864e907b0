"""Smaller or larger copies of the images that a list of sizes describes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wsolrefine.cli.evaluate.sizes import Size, SizePairs, Sizes

Floats = npt.NDArray[np.float64]


class Copies:
    """The scale of each image, where it has the aspect that is listed.

    Boxes are in pixels of the listed sizes, so copies give the same results, as long as the list
    and the boxes were not made for different copies. This cannot be told from one image, but a list
    that mixes scales without any rule is a damaged one.

    Args:
        count: number of images.

    """

    def __init__(self, count: int) -> None:
        self._pairs = SizePairs(count)

    def see(self, index: int, size: Size, listed: Size) -> None:
        """Note the (height, width) of an image and of its entry in the list."""
        self._pairs.see(index, size, listed)

    @property
    def common(self) -> float:
        """Return the median scale, the lower one of two, 1 if nothing was seen."""
        scales = np.sort(self._scales())
        return float(scales[(len(scales) - 1) // 2]) if len(scales) else 1.0

    def odd(self) -> list[int]:
        """Return the images whose scale is not that of most others.

        There are none where the images, or the listed sizes, were all resized to one side: then
        every image has a scale of its own. That explains nothing where most have scale 1.
        """
        scale = self.common
        if scale != 1 and self._resized_to_one_side():
            return []
        sizes, listed = self._pairs.first, self._pairs.second
        # Both are rounded to whole pixels, and the scale was measured on an image that is so too.
        scaled = abs(sizes - scale * listed) <= max(1, scale) + 0.01 * sizes
        odd: list[int] = self._pairs.indices[~scaled.all(1)].tolist()
        return odd

    def protocol(self) -> str:
        """Return how the images are scaled, as text; "" if none is."""
        sizes = self._pairs.first
        scaled = int((sizes != self._pairs.second).any(1).sum())
        if not scaled or (len(self.odd()) == scaled):  # these are named on their own
            return ""
        scales, shown = self._scales(), f"{self.common:.3g} x"
        if self._resized_to_one_side() and scales.max() > 1.02 * scales.min():
            shown = f"{scales.min():.3g} to {scales.max():.3g} x"
        return (
            f"of a copy, {shown}, {scaled} of {len(sizes)} images; boxes are taken in pixels "
            "of the listed sizes"
        )

    def _scales(self) -> Floats:
        scales: Floats = self._pairs.first.max(1, initial=0) / self._pairs.second.max(1, initial=1)
        return scales

    def _resized_to_one_side(self) -> bool:
        return _one_side(self._pairs.first) or _one_side(self._pairs.second)


def _one_side(sizes: Sizes) -> bool:
    """Tell whether all have the short or the long side, the height or the width in common."""
    sides = np.concatenate([sizes, sizes.min(1, keepdims=True), sizes.max(1, keepdims=True)], 1)
    return bool(len(sides)) and bool((sides == sides[:1]).all(0).any())
