"""Reading masks and gray maps with Pillow; the pixels are those that the file stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsolrefine.data._opened import UnreadableImage, one_at_a_time, opened
from wsolrefine.data._rgb import boxes
from wsolrefine.data.images import TURNS, load
from wsolrefine.functional._opencv import opencv

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TINT = 8
"""Gray levels by which the channels of a gray mask may differ."""


def read_gray(
    path: Path, size: Sequence[int] | None = None, *, above: int = 0
) -> NDArray[np.uint8]:
    """Read a mask as gray levels, resized to ``size`` (height, width) by nearest neighbor.

    Args:
        path: the file.
        size: height and width of the result; None: as it is stored.
        above: the gray level above which a pixel is object.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is not an image of 8 bits, it has colors, or its gray levels are 0 and 1
            although objects are brighter.

    """
    with opened(path, "a mask of 8 bits") as image, one_at_a_time(image.width * image.height):
        if image.mode.startswith(("I", "F")):
            raise UnreadableImage(path, f"mode {image.mode}", "a mask of 8 bits")
        stored = _as_stored(image)
        if stored.mode not in ("1", "L", "LA") and _has_colors(stored):
            raise UnreadableImage(path, "colors", "a gray mask")
        gray = np.asarray(stored.convert("L"))
    if above > 0 and gray.max(initial=0) == 1:
        raise UnreadableImage(path, "0 and 1", f"gray levels above {above} where the object is")
    if size is None or gray.shape == tuple(size):
        return gray
    cv2 = opencv("a mask of another size")
    resized = cv2.resize(gray, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, dtype=np.uint8)


def read_gray_map(path: Path) -> Tensor:
    """Read a gray PNG of 8 or 16 bits as float64 in [0, 1].

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is another kind of image.

    """
    kind = "a gray PNG of 8 or 16 bits"
    with opened(path, kind) as image, one_at_a_time(image.width * image.height):
        # Pillow opens 16 bits as I;16, older versions as I.
        largest = {"1": 1, "L": 255, "I;16": 65535, "I;16B": 65535, "I": 65535}.get(image.mode)
        if image.format != "PNG" or largest is None:
            raise UnreadableImage(path, f"{image.format} of mode {image.mode}", kind)
        values = np.asarray(image).astype(np.float64)
    values /= largest
    return torch.from_numpy(values)


def _as_stored(image: Image) -> Image:
    _, turn = load(image)
    if turn is None:
        return image
    from PIL import Image as Pillow

    return image.transpose(Pillow.Transpose[TURNS[turn]])


def _has_colors(image: Image) -> bool:
    """Tell whether red, green and blue differ by more than JPEG changes gray."""
    for box in boxes(image.size):
        pixels = np.asarray(image.crop(box).convert("RGB"))
        if (pixels.max(2) - pixels.min(2)).max(initial=0) > MAX_TINT:
            return True
    return False


def to_mask(object_: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None) -> Tensor:
    """Return a mask ``(H, W)`` uint8: 1 object, 255 ignored unless it is object, 0 the rest."""
    mask = object_.astype(np.uint8)
    if ignored is not None:
        mask[ignored & ~object_] = 255
    return torch.from_numpy(mask)
