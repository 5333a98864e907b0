"""The annotation of one image of a data set."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Annotation(NamedTuple):
    """Label, size and boxes of one image of a data set.

    Attributes:
        image_id: path of the image below the folder of images, with ``/``.
        label: class, from 0.
        size: height and width of the image in pixels; None if the data set does not give it.
        boxes: ``(n, 4)`` float32, half-open ``x0 y0 x1 y1`` in pixels of the image; n may be 0.

    Example:
        >>> import torch
        >>> annotation = Annotation("birds/wren.jpg", 0, (480, 640), torch.zeros(1, 4))
        >>> annotation.image_id, len(annotation.boxes)
        ('birds/wren.jpg', 1)

    """

    image_id: str
    label: int
    size: tuple[int, int] | None
    boxes: Tensor
