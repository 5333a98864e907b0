"""Heatmaps as pixels, and overlays: the image with heatmap, boxes and class, for inspection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from wsolrefine.cli.refine.stored import Record
from wsolrefine.viz import draw_boxes, overlay

Pixels = npt.NDArray[np.uint8]

LONGEST_TITLE = 60
"""Characters of a class name that an overlay shows."""


def heatmap(map: Tensor) -> Image.Image:
    """Return a map ``(h, w)`` in [0, 1] with 8 bits."""
    return Image.fromarray((map * 255).round().to(torch.uint8).numpy())


def is_enough(image: Image.Image, size: tuple[int, int], longest: int) -> bool:
    """Tell whether a reduced image has the pixels of an overlay.

    Args:
        image: the image, perhaps reduced.
        size: (width, height) of the whole image.
        longest: longest side of the overlay.

    """
    return max(image.size) >= min(longest, max(size))


def preview(image: Image.Image, longest: int) -> Pixels:
    """Return the pixels over which an overlay is drawn; the image itself becomes smaller."""
    image.thumbnail((longest, longest))
    return np.asarray(image).copy()


def drawn(
    pixels: Pixels,
    heatmap: Image.Image,
    entries: Sequence[Record],
    size: tuple[int, int],
    title: str,
) -> Image.Image:
    """Return an overlay.

    Args:
        pixels: see :func:`preview`.
        heatmap: the map, of any size.
        entries: the annotations, whose boxes are drawn.
        size: (width, height) of the whole image, in whose pixels boxes are.
        title: name of the class.

    """
    height, width = pixels.shape[:2]
    small = heatmap.resize((width, height), Image.Resampling.BILINEAR)
    colored = overlay(pixels, np.asarray(small) / np.float32(255))
    boxes = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes *= np.tile(np.divide((width, height), size), 2)
    labels = [f"{title[:LONGEST_TITLE]} {entry['score']:.2f}" for entry in entries]
    return Image.fromarray(draw_boxes(colored, boxes, labels=labels))
