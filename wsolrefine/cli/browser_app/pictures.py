"""The pictures of the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from wsolrefine.cli.browser_app.finding import Found
from wsolrefine.viz import draw_boxes, overlay

Pixels = npt.NDArray[np.uint8]

LONGEST = 640
"""Pixels of the longer side of a picture."""


def draw(image: Image.Image, found: Found) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Return a photograph with its CAM, its map, its mask and its box, in this order.

    Args:
        image: the photograph.
        found: what was found in it.

    """
    whole = image.size
    image = image.copy()
    image.thumbnail((LONGEST, LONGEST))
    pixels, size = np.array(image), image.size
    mask = _resized(found.refined.masks[0, 0], size) > 0.5
    faded = (pixels * 0.25 + 255 * 0.75).astype(np.uint8)
    box = found.refined.boxes[0, 0].cpu().numpy() * np.tile(np.divide(size, whole), 2)
    return (
        overlay(pixels, _resized(found.cam.maps[0, 0], size)),
        overlay(pixels, _resized(found.refined.maps[0, 0], size)),
        np.where(mask[..., None], pixels, faded),
        draw_boxes(pixels, box, color=(80, 255, 80)),
    )


def _resized(map: Tensor, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    plain = Image.fromarray(map.float().cpu().numpy())
    return np.asarray(plain.resize(size, Image.Resampling.BILINEAR))
