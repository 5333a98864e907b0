"""What a localizer found."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wsolrefine._options import check_count, check_device
from wsolrefine.functional.boxes import union_box
from wsolrefine.localization.drawing import check_images, class_name, pixels_of, rows_of, table_of
from wsolrefine.localization.instances import Instances, instances_of
from wsolrefine.localization.masks import check_parts, check_threshold, objects_of
from wsolrefine.localization.supervision import detections_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 16
"""At most so many maps are drawn into one picture."""

ALONE = 4.0
"""Width in inches of a column where one image is drawn alone."""


@dataclass(frozen=True, repr=False, eq=False)
class Localization:
    """Classes, heatmaps, masks and boxes of a batch of B images, K classes each.

    Everything lies on the device of the images and has no graph. In a notebook it shows itself as a
    table: image with outline and boxes, heatmap, class and score, a row for each class.

    Attributes:
        labels: class indices, int64, ``(B, K)``: those asked for, or the K most probable. Where an
            image has fewer classes than another they are -1: scores, maps, masks and boxes are
            zero there.
        scores: their probabilities, ``(B, K)``: the softmax of ``logits``; of a single logit, its
            sigmoid.
        maps: refined heatmaps in [0, 1] at the size of the images, ``(B, K, H, W)``.
        masks: bool, ``(B, K, H, W)``: ``maps > threshold``, and of that the largest component if
            ``parts`` is ``"largest"``, all objects together if it is ``"instances"``. Of an image
            with a side above 1024 pixels they are made at a longer side of 1024, and enlarged.
        boxes: around the masks, half-open ``x0 y0 x1 y1`` in pixels of the images, ``(B, K, 4)``;
            zeros where the mask is empty. For a box of each object see :attr:`instances`.
        coarse: the same heatmaps on their own grid, ``(B, K, h, w)``, before they are enlarged:
            enough to choose another threshold later, see :meth:`at`.
        logits: class scores of the model, ``(B, num_classes)``.
        threshold: value above which a pixel belongs to the object.
        parts: what one object is: ``"largest"``, ``"all"`` or ``"instances"``.
        method: name of the refinement, or of the recipe.
        regions: whether maps show objects; False for edges, which have no boxes.
        class_names: a name for each class, or None.
        images: the images that were localized, for :meth:`plot`: the tensor itself, not a copy.
        objects: the number of the object at each pixel, from 1, uint8, ``(B, K, H, W)``; 0 is
            background. None unless ``parts`` is ``"instances"``.

    """

    labels: Tensor
    scores: Tensor
    maps: Tensor
    masks: Tensor
    boxes: Tensor
    coarse: Tensor
    logits: Tensor
    threshold: float
    parts: str
    method: str
    regions: bool = True
    class_names: list[str] | None = None
    images: Any = None
    objects: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Return shapes and choices, not values."""
        shown = {
            field.name: tuple(value.shape) if isinstance(value, Tensor) else repr(value)
            for field in fields(self)
            if field.name not in ("regions", "class_names", "images", "objects")
            for value in [getattr(self, field.name)]
        }
        return f"Localization({', '.join(f'{name}={value}' for name, value in shown.items())})"

    def to(self, device: torch.device | str) -> Localization:
        """Return the same with all tensors on another device.

        Raises:
            TypeError: ``device`` is neither a device nor the name of one.
            ValueError: there is no device of that name.

        """
        device = check_device("device", device)
        moved: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    @cached_property
    def instances(self) -> list[list[Instances]]:
        """The objects of each class in each image: masks, boxes and scores, see :class:`Instances`.

        ``found.instances[b][k]`` are those of the class ``found.labels[b, k]``, one for each box.
        There is one at most unless ``parts`` is ``"instances"``, and none where the mask is empty,
        or where maps show edges.
        """
        images, classes = self.labels.shape
        return [[self._instances(b, k) for k in range(classes)] for b in range(images)]

    def _instances(self, image: int, place: int) -> Instances:
        objects = (self.masks if self.objects is None else self.objects)[image, place].byte()
        if not self.regions:
            objects = torch.zeros_like(objects)
        return instances_of(objects, self.maps[image, place], self.scores[image, place])

    def at(self, threshold: float, *, parts: str | None = None) -> Localization:
        """Return masks and boxes at another threshold, without running the model again.

        Args:
            threshold: value in [0, 1) above which a pixel belongs to the object.
            parts: ``"largest"``, ``"all"`` or ``"instances"``; None keeps what it was.

        Raises:
            TypeError: ``threshold`` is no number.
            ValueError: ``threshold`` or ``parts`` is none of these.

        """
        kept = check_parts(self.parts if parts is None else parts)
        threshold = check_threshold(threshold)
        size = (self.maps.shape[-2], self.maps.shape[-1])
        objects = objects_of(self.coarse, size, threshold, kept)
        boxes = union_box(objects > 0)
        return replace(
            self,
            masks=objects > 0,
            boxes=boxes if self.regions else torch.zeros_like(boxes),
            threshold=threshold,
            parts=kept,
            objects=objects if kept == "instances" else None,
        )

    def to_supervision(self) -> list[Any]:
        """Return a ``supervision.Detections`` for each image, for its annotators and trackers.

        Each object is a detection: ``xyxy`` half-open in pixels, ``mask`` ``(n, H, W)``,
        ``confidence`` (the score), ``class_id``, and ``data["class_name"]``. An empty mask gives
        none, and neither do maps of edges.

        Returns:
            B of them.

        Raises:
            ImportError: supervision is not installed (``pip install supervision``).

        """
        return detections_of(self)

    def plot(self, images: Any = None, *, index: int | None = None) -> Figure:
        """Draw image, heatmap, mask and boxes of each class, at most 16 rows.

        Args:
            images: what to draw on, such as the photographs that the model's input was made from:
                ``(B, 3, H, W)``, one PIL image, or a list of B PIL images or uint8 arrays
                ``(H, W, 3)``, of any size; None: the images that were localized.
            index: number of one image, which is drawn larger; None: a sheet of all.

        Returns:
            A matplotlib figure.

        Raises:
            ImportError: matplotlib or Pillow is not installed (extra ``cli``).
            TypeError: ``images`` is something else, or ``index`` is no integer.
            ValueError: there are no images, or none with a class; ``images`` are of another number,
                or there is no image of number ``index``.

        Example:
            >>> import numpy as np, torch
            >>> from torch import nn
            >>> from wsolrefine import localize
            >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.AdaptiveAvgPool2d(1),
            ...                       nn.Flatten(), nn.Linear(8, 10))
            >>> found = localize(model, torch.rand(2, 3, 32, 32))
            >>> photographs = [np.zeros((60, 60, 3), np.uint8)] * 2
            >>> len(found.plot(photographs, index=1).axes)
            4

        """
        given = check_images(self.images if images is None else images, len(self))
        if index is not None:
            index = check_count("index", index, low=0, high=max(0, len(self) - 1))
        from wsolrefine.viz.sheets import draw_sheet

        rows: list[list[Any]] = []
        captions: list[str] = []
        for image, place in rows_of(self.labels, index)[:ROWS]:
            pixels = self._pixels(given, image)
            rows.append(self._row(pixels, image, place))
            name = class_name(self.class_names, int(self.labels[image, place]))
            captions.append(f"{name}, {self.scores[image, place]:.0%}")
        last = "boxes" if self.parts == "instances" else "box"
        titles = ("image", f"heatmap ({self.method})", f"mask (> {self.threshold:g})", last)
        larger = {} if index is None else {"cell": ALONE}
        return draw_sheet(rows, titles, captions=captions, **larger)

    def _repr_html_(self) -> str | None:
        """Return the table that a notebook shows; None, and it shows the text, if none can be."""
        if not bool((self.labels >= 0).any()):
            return None
        try:
            return table_of(self, ROWS)
        except ImportError:  # of matplotlib or Pillow, which are optional
            return None

    def _repr_png_(self) -> bytes | None:
        """Return the picture that is shown where there is no HTML; None: the text is shown."""
        from io import BytesIO

        if not bool((self.labels >= 0).any()):
            return None
        buffer = BytesIO()
        try:
            self.plot().savefig(buffer, format="png")
        except ImportError:  # of matplotlib or Pillow, which are optional
            return None
        return buffer.getvalue()

    def _row(self, pixels: Tensor, image: int, place: int) -> list[Any]:
        from wsolrefine.viz import draw_boxes, overlay

        mask = self.masks[image, place].cpu()
        pale = (pixels * 0.25 + 255 * 0.75).to(torch.uint8)
        cut_out = torch.where(mask[..., None], pixels, pale)
        return [
            pixels,
            overlay(pixels, self.maps[image, place]),
            cut_out,
            draw_boxes(pixels, self._instances(image, place).boxes),
        ]

    def _pixels(self, images: Any, image: int) -> Tensor:
        return pixels_of(images, image, (self.maps.shape[-2], self.maps.shape[-1]))
