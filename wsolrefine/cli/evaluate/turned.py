"""Score maps with the height and width of their images swapped."""

from __future__ import annotations

Size = tuple[int, int]


class TurnedMaps:
    """The maps that have the size of their image with height and width swapped.

    This says something only if every map of an image that is not square has the size of its image,
    in one order or the other: networks resize images to one size, and such a map may have the
    swapped size of an image by chance.
    """

    def __init__(self) -> None:
        self._maps: dict[int, tuple[Size, Size]] = {}

    def see(self, index: int, size: Size, image: Size) -> None:
        """Note the (height, width) of a map and of its image."""
        if image[0] != image[1]:
            self._maps[index] = size, image

    def found(self) -> list[int]:
        """Return the images whose map is turned.

        Example:
            >>> maps = TurnedMaps()
            >>> maps.see(0, (20, 30), (30, 20))
            >>> maps.found()
            [0]
            >>> maps.see(1, (20, 30), (20, 30))  # one size for all images, as networks have it
            >>> maps.found()
            []

        """
        turned = [index for index, (size, image) in self._maps.items() if size == image[::-1]]
        straight = sum(size == image for size, image in self._maps.values())
        if len(turned) + straight < len(self._maps):
            return []
        one_size = len({size for size, _ in self._maps.values()}) == 1
        return [] if one_size and straight else turned

    def describe(self, index: int) -> str:
        """Return the sizes of a map and of its image, as text."""
        (height, width), image = self._maps[index]
        return f"{image[1]} x {image[0]}, map {width} x {height}"
