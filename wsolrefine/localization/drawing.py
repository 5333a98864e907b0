"""What a localizer found, as pictures: pixels of its images, and a table for notebooks."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import kind_of
from wsolrefine.functional._colors import to_colors
from wsolrefine.functional._grid import limited_size, resize
from wsolrefine.functional.outline import outline
from wsolrefine.localization.masks import enlarge, enlarge_labels

if TYPE_CHECKING:
    from wsolrefine.localization.result import Localization

SIDE = 160
"""Longest side in pixels of the small pictures in a notebook."""

_CELL = "text-align:left;vertical-align:top"


def check_images(images: Any, number: int) -> Any:
    """Return images to draw on, or raise.

    Args:
        images: a tensor ``(B, 3, H, W)``, one PIL image if B is 1, or a sequence of B PIL images
            or uint8 arrays ``(H, W, 3)``; None: there are none.
        number: B.

    Raises:
        TypeError: it is something else.
        ValueError: it has another number of images, or a shape is wrong.

    """
    if images is None:
        return None
    if isinstance(images, Tensor):
        check_tensors(images=(images, "B 3 H W"))
        got = len(images)
    elif isinstance(images, Sequence) and not isinstance(images, str):
        from wsolrefine.viz._arrays import as_image

        images = [one if _is_pil(one) else as_image(one) for one in images]
        got = len(images)
    elif _is_pil(images):
        got = 1
    else:
        expected = "images: expected a tensor, a PIL image or a list of images"
        raise TypeError(f"{expected}, got {kind_of(images)}")
    if got != number:
        raise ValueError(f"images: expected {number} as there are results, got {got}")
    return images


def class_name(names: Sequence[str] | None, label: int) -> str:
    """Return the first name of a class; its index if it has none.

    Example:
        >>> class_name(["tabby, tabby cat"], 0), class_name(None, 7)
        ('tabby', '7')

    """
    return names[label].split(",")[0] if names and label < len(names) else str(label)


def rows_of(labels: Tensor, image: int | None = None) -> list[tuple[int, int]]:
    """Return image and place of all classes, or of those of one image; a label of -1 is none.

    Example:
        >>> rows_of(torch.tensor([[3, -1], [5, 2]])), rows_of(torch.tensor([[3, -1], [5, 2]]), 1)
        ([(0, 0), (1, 0), (1, 1)], [(1, 0), (1, 1)])

    """
    places = (labels >= 0).nonzero().tolist()
    return [(row, place) for row, place in places if image in (None, row)]


def pixels_of(images: Any, image: int, size: tuple[int, int]) -> Tensor:
    """Return an image as ``(H, W, 3)`` uint8 of a (height, width); gray if there is none.

    Args:
        images: see :func:`check_images`.
        image: number of the image.
        size: (height, width).

    """
    if images is None:
        return torch.full((*size, 3), 128, dtype=torch.uint8)
    if isinstance(images, Tensor):
        colors = to_colors(images[image : image + 1].detach().float())
    else:
        one = images[image] if isinstance(images, Sequence) else images
        if _is_pil(one):
            return torch.from_numpy(np.array(one.convert("RGB").resize(size[::-1])))
        colors = torch.tensor(one).permute(2, 0, 1)[None] / 255
    return (resize(colors, size)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu()


def table_of(found: Localization, rows: int) -> str:
    """Return an HTML table: photograph with outline and box, heatmap, class, score and box.

    Args:
        found: what was found, of one image or more.
        rows: the most rows.

    Raises:
        ImportError: matplotlib or Pillow is not installed.

    """
    titles = ("object", f"heatmap ({found.method})", "class", "score", "box")
    cells = "".join(f'<th style="{_CELL}">{html.escape(title)}</th>' for title in titles)
    all_rows = rows_of(found.labels)
    lines = (_line(found, *row) for row in all_rows[:rows])
    note = f"<p>and {len(all_rows) - rows} more</p>" if len(all_rows) > rows else ""
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>{note}"


def _line(found: Localization, image: int, place: int) -> str:
    from wsolrefine.viz import draw_boxes, overlay

    full = (found.maps.shape[-2], found.maps.shape[-1])
    size = limited_size(full, SIDE)
    pixels = pixels_of(found.images, image, size)
    map = enlarge(found.maps[image : image + 1, place : place + 1], size)[0, 0]
    objects = found.masks[image : image + 1, place : place + 1].byte()
    mask = enlarge_labels(objects, size)[:, 0]
    lined = pixels.clone()
    lined[outline(mask.int())[0].cpu()] = torch.tensor([0, 255, 255], dtype=torch.uint8)
    boxes = found.instances[image][place].boxes.cpu()
    scale = torch.tensor([size[1] / full[1], size[0] / full[0]]).repeat(2)
    name = class_name(found.class_names, int(found.labels[image, place]))
    score = f"{found.scores[image, place]:.0%}"
    corners = "; ".join(" ".join(f"{v:.0f}" for v in box) for box in boxes.tolist()) or "none"
    pictures = (
        _picture(draw_boxes(lined, boxes * scale, width=2), f"{name}, box {corners}"),
        _picture(overlay(pixels, map), f"heatmap of {name}"),
    )
    texts = (html.escape(name), score, corners)
    return "<tr>" + "".join(f'<td style="{_CELL}">{c}</td>' for c in (*pictures, *texts)) + "</tr>"


def _picture(pixels: Any, text: str) -> str:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    content = b64encode(file.getvalue()).decode("ascii")
    return f'<img src="data:image/png;base64,{content}" alt="{html.escape(text)}">'


def _is_pil(value: Any) -> bool:
    """Tell whether a value is a PIL image, without importing Pillow."""
    return hasattr(value, "convert") and hasattr(value, "resize")
