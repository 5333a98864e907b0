"""Two sizes of each image of a data set, in few bytes: there may be a million of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
Sizes = npt.NDArray[np.int64]


class SizePairs:
    """Two (height, width) of each image that was seen.

    Threads may note those of different images at the same time.

    Args:
        count: number of images.

    Example:
        >>> pairs = SizePairs(3)
        >>> pairs.see(1, (20, 30), (40, 60))
        >>> pairs[1], pairs.indices.tolist(), pairs.first.tolist()
        (((20, 30), (40, 60)), [1], [[20, 30]])

    """

    def __init__(self, count: int) -> None:
        self._pairs = np.zeros((count, 2, 2), np.int32)  # zeros: not seen

    def see(self, index: int, first: Size, second: Size) -> None:
        """Note the sizes of an image."""
        self._pairs[index] = first, second

    def __getitem__(self, index: int) -> tuple[Size, Size]:
        """Return the sizes of an image."""
        (height, width), (other_height, other_width) = self._pairs[index].tolist()
        return (height, width), (other_height, other_width)

    @property
    def indices(self) -> Sizes:
        """The images that were seen, ``(n,)``, in their order."""
        return np.flatnonzero(self._pairs[:, 0, 0])

    @property
    def first(self) -> Sizes:
        """The first sizes of these images, ``(n, 2)``."""
        return self._seen(0)

    @property
    def second(self) -> Sizes:
        """The second sizes of these images, ``(n, 2)``."""
        return self._seen(1)

    def _seen(self, which: int) -> Sizes:
        sizes: Sizes = self._pairs[self.indices, which].astype(np.int64)
        return sizes
