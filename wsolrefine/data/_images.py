"""Opening images, masks and maps with Pillow; the pixels are those that the file stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


@contextmanager
def opened(path: Path, kind: str = "an image") -> Iterator[Image]:
    """Open an image for reading; an error names the file.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is no image, or a damaged one, or one of far too many pixels.

    """
    from PIL import Image, UnidentifiedImageError

    with path.open("rb") as file:
        try:
            with Image.open(file) as image:
                yield image
        except UnidentifiedImageError:
            raise ValueError(f"{path}: expected {kind}, got another kind of file") from None
        except Exception as error:  # decoders raise whatever a damaged file leads to
            why = str(error) or type(error).__name__
            raise ValueError(f"{path}: expected {kind}, got a damaged one ({why})") from None


def open_rgb(path: Path, *, upright: bool = False) -> Image:
    """Read an image as 8-bit RGB.

    Gray of 16 bits is scaled to 8, ``value / 257`` rounded; of colours of 16 bits Pillow gives the
    upper 8.

    Args:
        path: its file.
        upright: turn it as its EXIF data says; False: as it is stored.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is no image, or a damaged one, or one of far too many pixels; or gray of 32
            bits, of which nobody knows what is white.

    """
    from PIL import Image, ImageOps

    with opened(path) as image:
        mode, format = image.mode, image.format
        stored = ImageOps.exif_transpose(image) if upright else image
        if not mode.startswith(("I", "F")):
            return stored.convert("RGB")
        values = np.asarray(stored)
    # Pillow opens 16 bits as I;16, but PGM and, in older versions, PNG as I.
    if not (mode.startswith("I;16") or (mode == "I" and format in ("PNG", "PPM"))):
        raise ValueError(f"{path}: expected an image of 8 or 16 bits, got mode {mode}")
    levels = (values.astype(np.int32) + 128) // 257
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) from the head of an image file."""
    with opened(path) as image:
        return image.height, image.width


def read_gray(path: Path, size: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Read a mask as gray levels, brought to ``size`` (height, width) by the nearest pixel.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is no image of 8 bits.

    """
    import cv2

    with opened(path, "a mask of 8 bits") as image:
        mode, gray = image.mode, np.asarray(image.convert("L"))
    if mode.startswith(("I", "F")):
        raise ValueError(f"{path}: expected a mask of 8 bits, got mode {mode}")
    if size is None or gray.shape == tuple(size):
        return gray
    resized = cv2.resize(gray, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)


def read_gray_map(path: Path) -> Tensor:
    """Read a gray PNG of 8 or 16 bits as float64 in [0, 1].

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is another kind of image.

    """
    kind = "a gray PNG of 8 or 16 bits"
    with opened(path, kind) as image:
        format, mode, values = image.format, image.mode, np.asarray(image).astype(np.float64)
    # Pillow opens 16 bits as I;16, older versions as I.
    largest = {"1": 1, "L": 255, "I;16": 65535, "I;16B": 65535, "I": 65535}.get(mode)
    if format != "PNG" or largest is None:
        raise ValueError(f"{path}: expected {kind}, got {format} of mode {mode}")
    return torch.from_numpy(values / largest)


def to_mask(object_: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None) -> Tensor:
    """Return a mask ``(H, W)`` uint8: 1 object, 255 ignored unless it is object, 0 the rest."""
    mask = object_.astype(np.uint8)
    if ignored is not None:
        mask[ignored & ~object_] = 255
    return torch.from_numpy(mask)
