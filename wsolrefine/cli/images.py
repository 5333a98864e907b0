"""Reading any photograph as upright 8-bit RGB, or saying in plain words why that is impossible."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg"),
    *(".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""What counts as an image inside a folder, whatever the case. A file named on its own is always
tried. Suffixes that Pillow may not open are listed too: better reported than passed over."""


class UnreadableImage(Exception):  # noqa: N818 - it is the image that is at fault
    """The file holds no picture that can be read; the message says why in plain words."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd metadata, many pixels); to be entered outside of threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def read_image(path: Path) -> Image.Image:
    """Read the first frame as RGB: upright (EXIF), transparent parts white, deep gray stretched.

    Gray of more than 8 bits (also float) is stretched from its darkest to its brightest pixel,
    because such files rarely use the whole of their range.

    Raises:
        UnreadableImage: empty, truncated or damaged file, not an image, too many pixels.

    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImage("empty file (0 bytes)")
        with Image.open(path) as opened:
            opened.load()  # the first frame; raises on a truncated file
            with contextlib.suppress(Exception):  # damaged EXIF data: the pixels are still good
                ImageOps.exif_transpose(opened, in_place=True)
            return _rgb(opened)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image, or a format that Pillow cannot read") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"too many pixels ({error})") from None
    except MemoryError:
        raise UnreadableImage("not enough memory to read it") from None
    except OSError as error:
        # The system's errors (permission, no such file) have a number, Pillow's own have none.
        reason = error.strerror.lower() if error.strerror else f"damaged or truncated ({error})"
        raise UnreadableImage(reason) from None
    except Exception as error:  # decoders raise whatever a damaged file leads to
        raise UnreadableImage(f"damaged file ({error or type(error).__name__})") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        deep = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
        low, high = deep.min(), deep.max()
        scaled = (deep - low) * (255 / (high - low) if high > low else 0)
        return Image.fromarray((scaled + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    # A photograph of 100 megapixels is 300 MB: no copy where none is needed.
    return image if image.mode == "RGB" else image.convert("RGB")
