"""Score maps with the height and width of their images swapped."""

from __future__ import annotations

from wsolrefine.cli.evaluate.sizes import Size, SizePairs


class TurnedMaps:
    """The maps that have the size of their image with height and width swapped.

    This says something only if every map of an image that is not square has the size of its image,
    in one order or the other: networks resize images to one size, and such a map may have the
    swapped size of an image by chance.

    Args:
        count: number of images.

    """

    def __init__(self, count: int) -> None:
        self._maps = SizePairs(count)

    def see(self, index: int, size: Size, image: Size) -> None:
        """Note the (height, width) of a map and of its image."""
        if image[0] != image[1]:
            self._maps.see(index, size, image)

    def found(self) -> list[int]:
        """Return the images whose map is turned.

        Example:
            >>> maps = TurnedMaps(2)
            >>> maps.see(0, (20, 30), (30, 20))
            >>> maps.found()
            [0]
            >>> maps.see(1, (20, 30), (20, 30))  # one size for all images, as networks have it
            >>> maps.found()
            []

        """
        sizes, images = self._maps.first, self._maps.second
        turned = (sizes == images[:, ::-1]).all(1)
        straight = (sizes == images).all(1)
        if not (turned | straight).all():
            return []
        one_size = (sizes == sizes[:1]).all()
        found: list[int] = self._maps.indices[turned].tolist()
        return [] if one_size and straight.any() else found

    def describe(self, index: int) -> str:
        """Return the sizes of a map and of its image, as text."""
        (height, width), image = self._maps[index]
        return f"{image[1]} x {image[0]}, map {width} x {height}"
