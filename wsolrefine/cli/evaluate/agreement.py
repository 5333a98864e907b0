"""What the lists of a data set say of its images, compared with the images themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from wsolrefine.cli.evaluate.coarse import NAMED as COARSE
from wsolrefine.cli.evaluate.coarse import REFUSED, is_coarser
from wsolrefine.cli.evaluate.copies import Copies
from wsolrefine.cli.evaluate.turned import TurnedMaps
from wsolrefine.data.reader import Reader

TOLERATED = 0.01
"""Fraction of the images of a split that may differ from its lists: published lists have a few
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
        self.tiny: dict[int, str] = {}
        self.coarse: dict[int, str] = {}
        self.copies, self.maps = Copies(count), TurnedMaps(count)
        self._seen = np.zeros((count, 2), np.int32)  # zeros: not seen

    def see_image(self, index: int, size: tuple[int, int]) -> None:
        """Compare the (height, width) of an opened image with its annotation."""
        self._seen[index] = size
        listed = self.reader.annotations[index].size
        if found := self.reader.disagreement(index, size):
            self.sizes[index] = found
        elif listed is not None:
            self.copies.see(index, size, listed)

    def see_map(self, index: int, size: tuple[int, int], mask: Sequence[int] | None = None) -> None:
        """Compare the (height, width) of a score map with its image, or else with its mask."""
        image = self._image_size(index)
        if image:
            self.maps.see(index, size, image)
        elif mask:
            image = mask[0], mask[1]
        if image and is_coarser(size, image, COARSE):
            name = self.reader.annotations[index].image_id
            found = self.tiny if is_coarser(size, image, REFUSED) else self.coarse
            found[index] = f"{name} ({image[1]} x {image[0]}, map {size[1]} x {size[0]})"

    def see_mask(self, index: int, size: Sequence[int]) -> None:
        """Compare the (height, width) of a mask with its image."""
        image = self._image_size(index)
        if image and not same_aspect(image, size):
            name = self.reader.annotations[index].image_id
            self.masks[index] = f"{name} ({image[1]} x {image[0]}, mask {size[1]} x {size[0]})"

    def see_boxes(self, index: int, boxes: Tensor, size: tuple[int, int]) -> None:
        """Compare true boxes with the (height, width) that they refer to.

        Raises:
            ValueError: a box lies wholly outside of the image, or is smaller than a pixel, as boxes
                are that are fractions of the image.

        """
        height, width = size
        for number, box in enumerate(boxes.tolist()):
            x0, y0, x1, y1 = box
            shown = " ".join(f"{value:g}" for value in box)
            where = self.reader._box_source(index, number)
            if x0 >= width or y0 >= height:
                raise ValueError(f"{where}: expected a box in {width} x {height}, got {shown}")
            if x1 - x0 < 1 or y1 - y0 < 1:
                raise ValueError(f"{where}: expected a box of at least one pixel, got {shown}")
            if x1 > width + 1 or y1 > height + 1:
                self.outside[index] = (
                    f"{where}: expected a box in {width} x {height}, as is "
                    f"{self.reader.annotations[index].image_id}, got {shown}"
                )

    def check(self) -> None:
        """Raise ValueError if more differ than are tolerated, of sizes, masks or boxes."""
        for what, expected, found in (
            ("annotated sizes", "those of the images, up to rounding", self.sizes),
            ("masks", "those of the images, up to rounding", self.masks),
            ("boxes", "boxes that end in the images, up to one pixel", self.outside),
            (
                "maps",
                "sides of at least 28 (or 1/8 of those of smaller images), better 224 x 224 as in "
                "wsolevaluation, because boxes are compared in whole cells of the map",
                self.tiny,
            ),
        ):
            if len(found) > TOLERATED * self.count:
                raise ValueError(
                    f"{what}: expected {expected}, got others for "
                    f"{len(found)} of {self.count} images or more: {_named(found)}"
                )

    def check_all(self) -> None:
        """Raise ValueError for what only all images tell: copies of a scale of their own, maps."""
        odd = self._odd_copies()
        if len(odd) > TOLERATED * self.count:
            raise ValueError(
                f"annotated sizes: expected one scale, {self.copies.common:.3g} x, between the "
                f"images and the list, got others for {len(odd)} of {self.count} images: "
                f"{_named(odd)}"
            )
        turned = self._turned_maps()
        if len(turned) > TOLERATED * self.count:
            raise ValueError(
                "maps: expected those of the images, got maps with height and width swapped (or a "
                f"list that has them swapped) for {len(turned)} of {self.count} images: "
                f"{_named(turned)}"
            )

    def protocol(self) -> dict[str, str]:
        """Return a line of the protocol for each kind of difference."""
        lines = {}
        if scaled := self.copies.protocol():
            lines["sizes"] = scaled
        wrong = self.sizes | self._odd_copies()
        if wrong:
            lines["wrong sizes"] = f"{_of(wrong, self.count)}, used as listed"
        if turned := self._turned_maps():
            lines["wrong maps"] = f"{_of(turned, self.count)}, used as they are"
        if coarse := self.coarse | self.tiny:
            lines["coarse maps"] = (
                f"{_of(coarse, self.count)}, whose cells are large for boxes and masks: results "
                "differ from those at 224 x 224"
            )
        if self.masks:
            lines["wrong masks"] = f"{_of(self.masks, self.count)}, used as they are"
        if self.outside:
            lines["boxes outside"] = f"{_of(self.outside, self.count)}, not clipped"
        return lines

    def _image_size(self, index: int) -> tuple[int, int] | None:
        height, width = self._seen[index].tolist()
        return (height, width) if height else self.reader.annotations[index].size

    def _turned_maps(self) -> dict[int, str]:
        found = self.maps.found()
        names = {index: self.reader.annotations[index].image_id for index in found}
        return {index: f"{name} ({self.maps.describe(index)})" for index, name in names.items()}

    def _odd_copies(self) -> dict[int, str]:
        return {
            index: self.reader._size_error(index, self._image_size(index) or (0, 0))
            for index in self.copies.odd()
        }


def same_aspect(size: Sequence[int], other: Sequence[int], tolerance: float = 0.05) -> bool:
    """Tell whether two (height, width) are of about one aspect: masks come in other resolutions."""
    first, second = size[0] * other[1], size[1] * other[0]
    return abs(first - second) <= tolerance * max(first, second) + max(*size, *other)


def _of(found: dict[int, str], count: int) -> str:
    return f"{len(found)} of {count} images: {_named(found)}"


def _named(found: dict[int, str]) -> str:
    names = [found[index] for index in sorted(found)[:NAMED]]
    return "; ".join(names) + ("; ..." if len(found) > NAMED else "")
