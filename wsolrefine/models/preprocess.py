"""Preprocessing of images for a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from wsolrefine._check import check_interpolation
from wsolrefine._options import check_numbers, check_size

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Turn a PIL image into the input of a classifier: resized uncropped, scaled, normalized.

    The image is stretched to ``size`` and never cropped, so that a box on the map maps back to the
    image by scaling x and y. Alpha and palettes are converted to RGB.

    Args:
        size: ``(H, W)`` in pixels.
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel, for values in [0, 1].
        interpolation: a PIL filter: nearest, box, bilinear, hamming, bicubic or lanczos.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: the interpolation is unknown, ``size`` is not two numbers >= 1, or mean or
            standard deviation is not 3 numbers, the latter above 0.

    Example:
        >>> from PIL import Image
        >>> image = Image.new("RGB", (30, 20), (255, 0, 127))
        >>> Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(image).shape
        torch.Size([3, 2, 2])

    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_interpolation(self.interpolation)
        check_size("size", self.size)
        for name, low in (("mean", None), ("std", 0)):
            levels = check_numbers(name, getattr(self, name), above=low)
            if len(levels) != 3:
                raise ValueError(f"{name}: expected a number for each of 3 channels, got {levels}")

    def __call__(self, image: Image) -> Tensor:
        """Return the image as ``(3, H, W)``, float32."""
        from PIL.Image import Resampling

        height, width = self.size
        resampling = Resampling[self.interpolation.upper()]
        pixels = np.array(image.convert("RGB").resize((width, height), resampling))
        scaled = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (scaled - mean) / std


def preprocess_of(model: nn.Module) -> Preprocess | None:
    """Return the preprocessing that a timm model was trained with; None if it does not give it.

    Read from its ``pretrained_cfg``, the keys ``input_size``, ``mean``, ``std``, ``interpolation``.

    Example:
        >>> model = nn.Identity()
        >>> model.pretrained_cfg = {"input_size": (3, 160, 128), "mean": (0.5, 0.5, 0.5),
        ...                         "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
        >>> preprocess_of(model).size, preprocess_of(nn.Identity())
        ((160, 128), None)

    """
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not {"input_size", "mean", "std"} <= set(config):
        return None
    _, height, width = config["input_size"]
    return Preprocess(
        (int(height), int(width)),
        tuple(config["mean"]),
        tuple(config["std"]),
        str(config.get("interpolation", "bilinear")),
    )
