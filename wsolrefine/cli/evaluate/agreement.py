"""What the lists of a data set say of its images, compared with the images themselves."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wsolrefine.data.reader import Reader

TOLERATED = 0.01
"""Fraction of the images of a split whose size may differ from its list: published lists have a few
errors. More than that means that the list is another one, or has width and height swapped."""

NAMED = 3
"""Images that are named in the protocol."""


class Agreement:
    """Counts and names the images of a split that differ from their annotations.

    Args:
        reader: the data set.
        count: number of images that are evaluated.

    """

    def __init__(self, reader: Reader, count: int) -> None:
        self.reader, self.count = reader, count
        self.sizes: dict[int, str] = {}
        self.masks: dict[int, str] = {}
        self.outside: dict[int, str] = {}
        self._seen: dict[int, tuple[int, int]] = {}

    def see_image(self, index: int, size: tuple[int, int]) -> None:
        """Compare the (height, width) of an opened image with its annotation."""
        self._seen[index] = size
        if found := self.reader.disagreement(index, size):
            self.sizes[index] = found

    def see_mask(self, index: int, size: Sequence[int]) -> None:
        """Compare the (height, width) of a mask with its image."""
        image = self._seen.get(index) or self.reader.annotations[index].size
        if image and not same_aspect(image, size):
            name = self.reader.annotations[index].image_id
            self.masks[index] = f"{name} ({image[1]} x {image[0]}, mask {size[1]} x {size[0]})"

    def see_boxes(self, index: int, boxes: Tensor, size: tuple[int, int]) -> None:
        """Compare true boxes with the (height, width) that they refer to.

        Raises:
            ValueError: a box lies wholly outside of the image.

        """
        height, width = size
        for box in boxes.tolist():
            x0, y0, x1, y1 = box
            shown = " ".join(f"{value:g}" for value in box)
            if x0 >= width or y0 >= height:
                raise ValueError(f"boxes: expected boxes in {width} x {height}, got {shown}")
            if x1 > width + 1 or y1 > height + 1:
                name = self.reader.annotations[index].image_id
                self.outside[index] = f"{name} ({shown} in {width} x {height})"

    def check(self) -> None:
        """Raise ValueError if more sizes differ than are tolerated, in images or in masks."""
        for what, found in (("annotated sizes", self.sizes), ("masks", self.masks)):
            if len(found) > TOLERATED * self.count:
                raise ValueError(
                    f"{what}: expected those of the images, up to rounding, got others for "
                    f"{len(found)} of {self.count} images or more: {_named(found)}"
                )

    def protocol(self) -> dict[str, str]:
        """Return a line of the protocol for each kind of difference."""
        lines = {}
        if self.sizes:
            lines["wrong sizes"] = f"{_of(self.sizes, self.count)}, used as listed"
        if self.masks:
            lines["wrong masks"] = f"{_of(self.masks, self.count)}, used as they are"
        if self.outside:
            lines["boxes outside"] = f"{_of(self.outside, self.count)}, not clipped"
        return lines


def same_aspect(size: Sequence[int], other: Sequence[int], tolerance: float = 0.05) -> bool:
    """Tell whether two (height, width) are of about one aspect: masks come in other resolutions."""
    first, second = size[0] * other[1], size[1] * other[0]
    return abs(first - second) <= tolerance * max(first, second) + max(*size, *other)


def _of(found: dict[int, str], count: int) -> str:
    return f"{len(found)} of {count} images: {_named(found)}"


def _named(found: dict[int, str]) -> str:
    names = [found[index] for index in sorted(found)[:NAMED]]
    return "; ".join(names) + ("; ..." if len(found) > NAMED else "")
