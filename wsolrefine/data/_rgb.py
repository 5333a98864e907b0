"""Any PIL image as 8-bit RGB, tile by tile: little more memory than the image and the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 2**16
"""Pixels converted at once."""

Color = tuple[int, int, int]
Box = tuple[int, int, int, int]
_SAMPLE_FORMAT, _PHOTOMETRIC = 339, 262  # tags of TIFF
_UNSIGNED, _SIGNED, _WHITE_IS_ZERO = (1,), (2,), 0


class Deep(ValueError):  # noqa: N818 - not an error of the program
    """Gray of a depth that is not scaled."""


def as_rgb(image: Image, stretch: bool, background: Color) -> Image:
    """Return a PIL image as RGB; the image itself if it is that already.

    Args:
        image: it is not changed.
        stretch: map the finite range of deep gray to 0 to 255; otherwise divide 16 bits by 257.
        background: color under transparent pixels.

    Raises:
        Deep: ``stretch`` is off, and the image is gray of another depth than 8 or 16 bits.

    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    tile = _gray_tile(image, stretch, background) if is_deep(image) else _tile(image, background)
    from PIL import Image as Pillow

    done = Pillow.new("RGB", image.size)
    for box in boxes(image.size):
        done.paste(tile(image.crop(box)), box[:2])
    return done


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """Yield the boxes of tiles that cover an image of (width, height)."""
    width, height = size
    columns = min(width, TILE)
    rows = max(1, TILE // max(1, columns))
    for top in range(0, height, rows):
        for left in range(0, width, max(1, columns)):
            yield left, top, min(left + columns, width), min(top + rows, height)


def is_deep(image: Image) -> bool:
    """Tell whether the image is gray of more than 8 bits, or of 8 bits with a sign."""
    return image.mode.startswith(("I", "F")) or _tag(image, _SAMPLE_FORMAT) == _SIGNED


def _tag(image: Image, number: int) -> Any:
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    return None if tags is None else tags.get(number)


def _tile(image: Image, background: Color) -> Callable[[Image], Image]:
    """Return the conversion of a tile with at most 8 bits a channel."""
    from PIL import Image as Pillow

    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of a PNG with 16 bits: Pillow keeps 8
        clear = tuple(value >> 8 for value in clear)

    def convert(tile: Image) -> Image:
        if not image.has_transparency_data:
            return tile.convert("RGB")
        if clear is not None:
            tile.info["transparency"] = clear
        if tile.mode == "La":  # premultiplied gray has no direct way to RGB
            tile = tile.convert("LA")
        layer = tile.convert("RGBA")
        under = Pillow.new("RGBA", layer.size, (*background, 255))
        return Pillow.alpha_composite(under, layer).convert("RGB")

    return convert


def _gray_tile(image: Image, stretch: bool, background: Color) -> Callable[[Image], Image]:
    """Return the conversion of a tile of deep gray."""
    from PIL import Image as Pillow

    values = _values_of(image)
    clear = image.info.get("transparency")
    inverted = image.mode != "L" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    low, high = _range(image, values, clear) if stretch else (0.0, 0.0)
    # Pillow opens 16 bits as I;16, but PGM and, in older versions, PNG as I.
    sixteen = image.mode.startswith("I;16") or (
        image.mode == "I" and image.format in ("PNG", "PPM")
    )
    if not stretch and not sixteen:
        raise Deep(f"mode {image.mode}")

    def convert(tile: Image) -> Image:
        deep = values(tile)
        gray = _stretched(deep, low, high) if stretch else _scaled(deep)
        rgb = np.repeat((255 - gray if inverted else gray)[..., None], 3, axis=2)
        if isinstance(clear, int):
            rgb[deep == clear] = background
        return Pillow.fromarray(rgb)

    return convert


def _values_of(image: Image) -> Callable[[Image], NDArray[Any]]:
    """Return how the numbers of a tile are read, whose signs Pillow does not always keep."""
    kind = _tag(image, _SAMPLE_FORMAT) or _UNSIGNED
    if image.format == "TIFF" and image.mode == "I" and kind == _UNSIGNED:
        return lambda tile: np.asarray(tile, np.int32).view(np.uint32)
    if image.mode == "L":
        return lambda tile: np.asarray(tile).view(np.int8)
    return np.asarray


def _range(
    image: Image, values: Callable[[Image], NDArray[Any]], clear: Any
) -> tuple[float, float]:
    """Return the least and the greatest finite value that is not transparent."""
    low, high = np.inf, -np.inf
    for box in boxes(image.size):
        deep = values(image.crop(box))
        seen = deep[np.isfinite(deep) & (deep != clear)] if clear is not None else deep
        seen = seen[np.isfinite(seen)]
        if seen.size:
            low, high = min(low, float(seen.min())), max(high, float(seen.max()))
    return low, high


def _stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if not high > low:  # constant, or nothing finite: black
        return np.zeros(values.shape, np.uint8)
    wide = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    scaled = (wide.clip(low, high) - low) * (255 / (high - low)) + 0.5
    return scaled.astype(np.uint8)


def _scaled(values: NDArray[Any]) -> NDArray[np.uint8]:
    return ((values.astype(np.int32) + 128) // 257).astype(np.uint8)
