"""Maps and photographs as the page takes them: text that needs no file of its own."""

from __future__ import annotations

import zlib
from base64 import b64encode
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from wsolrefine.cli.report.runs import Levels
from wsolrefine.viz import overlay

QUALITY = 80
"""Of the JPEG files: a report is there to look at."""


def packed_map(levels: Levels, size: tuple[int, int]) -> bytes:
    """Return a map for the page: what is needed of it, each pixel as a difference, compressed.

    The page enlarges the map to ``size`` as :func:`wsolrefine.localization.masks.enlarge` does. Of
    a map that is larger it needs only some rows and columns, see :func:`used`. Maps are smooth, so
    that differences of differences, along both axes, are mostly 0.

    Args:
        levels: ``(h, w)``.
        size: (height, width) at which masks are binarized.

    """
    rows, columns = (used(given, length) for given, length in zip(levels.shape, size, strict=True))
    needed = levels[rows][:, columns].astype(np.int16)
    across = np.diff(needed, axis=1, prepend=0)
    return zlib.compress(np.diff(across, axis=0, prepend=0).astype(np.uint8).tobytes(), 9)


def used(given: int, length: int) -> npt.NDArray[np.int64]:
    """Return the pixels of an axis that bilinear interpolation to another length looks at.

    In the arithmetic of torch: float32, with one rounding for a product and a sum.

    Example:
        >>> used(8, 2), used(2, 8)
        (array([1, 2, 5, 6]), array([0, 1]))

    """
    scale = np.float64(np.float32(given / length))
    position = ((np.arange(length) + 0.5) * scale - 0.5).astype(np.float32).clip(0)
    first = np.minimum(position.astype(np.int64), given - 1)
    return np.unique([first, np.minimum(first + 1, given - 1)])


def jpeg(image: Image.Image, longest: int) -> bytes:
    """Return a JPEG file of an image, reduced to a longest side; the image becomes smaller."""
    image.thumbnail((longest, longest))
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def colored(levels: Levels, size: tuple[int, int]) -> Image.Image:
    """Return a map as a picture, for an image that cannot be found.

    Args:
        levels: ``(h, w)``.
        size: (width, height) of the picture.

    """
    large = Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR)
    black = np.zeros((size[1], size[0], 3), np.uint8)
    return Image.fromarray(overlay(black, np.asarray(large) / np.float32(255), 1))


def palette() -> str:
    """Return the 256 colors of heatmaps, red, green and blue of each, in base 64."""
    colors = np.asarray(colormaps["turbo"](np.arange(256)))[:, :3] * 255
    return b64encode(colors.round().astype(np.uint8).tobytes()).decode("ascii")
