"""Heatmaps and boxes drawn on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wsolrefine._options import (
    check_count,
    check_counts,
    check_flag,
    check_number,
    check_text,
    check_texts,
)
from wsolrefine.viz._arrays import Pixels, as_array, as_image

Color = tuple[int, int, int]


def overlay(image: Any, map: Any, alpha: float = 0.5, *, colormap: str = "turbo") -> Pixels:
    """Overlay a colored heatmap on an image.

    Args:
        image: ``(H, W, 3)`` uint8, an array or a tensor.
        map: ``(H, W)``, same size, in [0, 1]; values outside are clipped, NaN counts as 0.
        alpha: weight of the color in [0, 1]; 0 gives the image, 1 the colored map.
        colormap: name of a matplotlib colormap.

    Returns:
        New array, ``(H, W, 3)`` uint8.

    Raises:
        TypeError: ``image`` is not uint8, or an argument is of the wrong type.
        ValueError: a shape is wrong, ``alpha`` lies outside [0, 1], or ``colormap`` is unknown.

    Example:
        >>> import numpy as np
        >>> photograph = np.full((1, 2, 3), 200, dtype=np.uint8)
        >>> overlay(photograph, [[0.0, 1.0]], colormap="gray").tolist()
        [[[100, 100, 100], [228, 228, 228]]]

    """
    from matplotlib import colormaps

    if check_text("colormap", colormap) not in colormaps:
        raise ValueError(f"colormap: expected the name of a matplotlib one, got {colormap!r}")
    alpha = check_number("alpha", alpha, low=0, high=1)
    image, values = as_image(image), as_array("map", map)
    if values.shape != image.shape[:2]:
        raise ValueError(f"map: expected shape {image.shape[:2]} as image, got {values.shape}")
    values = np.nan_to_num(values.clip(0, 1), nan=0.0).astype(np.float32)
    levels = (values * 255 + 0.5).astype(np.uint8)
    palette = np.asarray(colormaps[colormap](np.linspace(0, 1, 256)))[:, :3] * 255
    # One table look-up and one blend per pixel in float32, so that large images stay cheap.
    colors = (alpha * palette + 0.5).astype(np.float32)[levels]
    blended: Pixels = np.minimum(image * np.float32(1 - alpha) + colors, 255).astype(np.uint8)
    return blended


def draw_boxes(
    image: Any,
    boxes: Any,
    *,
    labels: Sequence[str] | None = None,
    color: Color = (255, 255, 255),
    width: int | None = None,
    dashed: bool = False,
) -> Pixels:
    """Draw boxes on an image, with a thin dark edge so that they are visible on any background.

    Args:
        image: ``(H, W, 3)`` uint8, an array or a tensor.
        boxes: ``(n, 4)`` half-open xyxy pixels, or one box ``(4,)``. Boxes without area are left
            out, so the zeros that stand for "no object" draw nothing.
        labels: one text per box, written in its upper left corner.
        color: RGB of the outline, 0 to 255.
        width: thickness in pixels; by default a fixed fraction of the image's size.
        dashed: break the outline into dashes.

    Returns:
        New array, ``(H, W, 3)`` uint8.

    Raises:
        TypeError: ``image`` is not uint8, or an argument is of the wrong type.
        ValueError: a shape is wrong, ``labels`` and ``boxes`` differ in number, ``width`` is not
            from 1 to 10000, or ``color`` is not three levels from 0 to 255.

    Example:
        >>> import numpy as np
        >>> outlined = draw_boxes(np.zeros((5, 5, 3), dtype=np.uint8), [1, 1, 4, 4], width=1)
        >>> (outlined[..., 0] == 255).astype(int)
        array([[0, 0, 0, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 1, 0, 1, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]])

    """
    from PIL import Image, ImageDraw, ImageFont

    dashed, color = check_flag("dashed", dashed), _check_color(color)
    if width is not None:
        width = check_count("width", width, high=10_000)
    image = as_image(image)
    corners = np.atleast_2d(as_array("boxes", boxes).astype(np.float64))
    corners = corners.reshape(0, 4) if corners.size == 0 else corners
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (n, 4), got {corners.shape}")
    if labels is not None:
        labels = check_texts("labels", labels)
        if len(labels) != len(corners):
            raise ValueError(f"labels: expected {len(corners)} as boxes, got {len(labels)}")
    width = width or max(1, round(math.sqrt(image.shape[0] * image.shape[1]) / 130))
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    limit = np.array([image.shape[1], image.shape[0]] * 2)
    for index, corner in enumerate(corners):
        if not (corner[2:] > corner[:2]).all():  # also false for NaN
            continue
        x1, y1, x2, y2 = (int(v) for v in np.round(corner.clip(0, limit)))
        x2, y2 = max(x2, x1 + 1) - 1, max(y2, y1 + 1) - 1  # Pillow's far corner is inside
        edge = max(1, width // 3) if width > 1 else 0
        for grow, paint in ((edge, (0, 0, 0)), (0, color)):
            outline = (x1 - grow, y1 - grow, x2 + grow, y2 + grow)
            for line in _lines(outline, width + 2 * grow, 6 * width if dashed else 0):
                draw.rectangle(line, fill=paint)
        if labels is not None and labels[index]:
            font = ImageFont.load_default(max(10, 4 * width))
            at = (x1 + 2 * width, y1 + 2 * width)
            draw.rectangle(draw.textbbox(at, labels[index], font), fill=color)
            draw.text(at, labels[index], (0, 0, 0), font)
    return np.asarray(picture).copy()


def _check_color(color: Color) -> Color:
    levels = check_counts("color", color, low=0, high=255)
    if len(levels) != 3:
        raise ValueError(f"color: expected three levels from 0 to 255, got {color}")
    return levels[0], levels[1], levels[2]


def _lines(box: tuple[int, int, int, int], width: int, dash: int) -> list[tuple[int, ...]]:
    """Split the outline of a box (inclusive corners) into filled rectangles, solid or dashed."""
    x1, y1, x2, y2 = box
    across, down = min(width, x2 - x1 + 1) - 1, min(width, y2 - y1 + 1) - 1
    spans = [(v, min(v + dash, x2)) for v in range(x1, x2 + 1, 2 * dash)] if dash else [(x1, x2)]
    rises = [(v, min(v + dash, y2)) for v in range(y1, y2 + 1, 2 * dash)] if dash else [(y1, y2)]
    return [
        *((a, y, b, y + down) for y in (y1, y2 - down) for a, b in spans),
        *((x, a, x + across, b) for x in (x1, x2 - across) for a, b in rises),
    ]
