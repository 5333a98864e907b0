"""Images and maps in any form, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsolrefine._check import check_values
from wsolrefine._options import kind_of

Pixels = npt.NDArray[np.uint8]


def as_array(name: str, value: Any) -> npt.NDArray[Any]:
    """Convert a tensor on any device, an array or nested lists of numbers to a NumPy array.

    Raises:
        TypeError: it holds something that is not a real number.

    """
    if isinstance(value, Tensor):
        check_values(**{name: value})
        value = value.float() if value.dtype == torch.bfloat16 else value
        value = value.numpy(force=True)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # lists of unequal lengths, say
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected an array of real numbers, got {kind_of(value)}")
    return array


def as_image(value: Any) -> Pixels:
    """Convert an image to an array, or raise."""
    image = as_array("image", value)
    if image.dtype != np.uint8:
        raise TypeError(f"image: expected dtype uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected shape (H, W, 3), got {image.shape}")
    return image
