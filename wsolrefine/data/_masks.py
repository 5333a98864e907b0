"""Reading masks and gray maps with Pillow; the pixels are those that the file stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsolrefine.data.images import opened
from wsolrefine.functional._opencv import opencv


def read_gray(path: Path, size: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Read a mask as gray levels, resized to ``size`` (height, width) by nearest neighbor.

    Raises:
        OSError: there is no such file, or it may not be read.
        ValueError: it is not an image of 8 bits.

    """
    with opened(path, "a mask of 8 bits") as image:
        mode, gray = image.mode, np.asarray(image.convert("L"))
    if mode.startswith(("I", "F")):
        raise ValueError(f"{path}: expected a mask of 8 bits, got mode {mode}")
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
