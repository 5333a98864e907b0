"""Images and maps in any form, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Pixels = npt.NDArray[np.uint8]


def as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Convert a tensor on any device, an array or nested lists of numbers to a NumPy array.

    Raises:
        TypeError: it holds something that is not a real number.

    """
    if isinstance(value, Tensor):
        value = value.detach().float() if value.is_floating_point() else value.detach()
        value = value.cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # lists of unequal lengths, say
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        got = "None" if value is None else type(value).__name__
        raise TypeError(f"{name}: expected an array of real numbers, got {got}")
    return array


def as_image(value: Any) -> Pixels:
    """Convert an image to an array, or raise."""
    image = as_array("image", value)
    if image.dtype != np.uint8:
        raise TypeError(f"image: expected dtype uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected shape (H, W, 3), got {image.shape}")
    return image
