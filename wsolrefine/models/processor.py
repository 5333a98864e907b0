"""The preprocessing that an image processor of transformers is configured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsolrefine.models.preprocess import Preprocess

_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""By the number that PIL and transformers have for them."""


def preprocess_of_config(config: Mapping[str, Any], name: str) -> Preprocess:
    """Return the preprocessing of an image processor, without its crop.

    The whole image is resized to the size that the model takes, so that boxes on the map scale
    back to the image.

    Args:
        config: the content of ``preprocessor_config.json``.
        name: of the model, for the error.

    Raises:
        ValueError: it changes images in a way that a Preprocess does not.

    Example:
        >>> config = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
        ...           "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
        >>> preprocess_of_config(config, "example").size
        (224, 224)

    """
    if config.get("do_flip_channel_order"):
        raise ValueError(f"spec: expected a processor of RGB images, got that of {name!r} for BGR")
    size = _size(config, name)
    factor = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
    scale = 255 * factor  # of values in [0, 1]
    offset = 1.0 if config.get("rescale_offset") else 0.0
    mean, std = [0.0] * 3, [1.0] * 3
    if config.get("do_normalize", True):
        mean = [float(value) for value in config.get("image_mean") or mean]
        std = [float(value) for value in config.get("image_std") or std]
    resample = config.get("resample", 2)
    return Preprocess(
        size,
        tuple((value + offset) / scale for value in mean),
        tuple(value / scale for value in std),
        _FILTERS[2 if resample is None else int(resample)],
    )


def _size(config: Mapping[str, Any], name: str) -> tuple[int, int]:
    cropped = config.get("do_center_crop", "crop_size" in config) and config.get("crop_size")
    size = config.get("crop_size") if cropped else config.get("size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and {"height", "width"} <= {*size}:
        return int(size["height"]), int(size["width"])
    if isinstance(size, Mapping) and size.get("shortest_edge") is not None:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    raise ValueError(f"spec: expected a processor with a size of images, got {size} of {name!r}")
