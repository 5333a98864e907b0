"""What a localizer found."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wsolrefine._options import check_device
from wsolrefine.functional._colors import to_colors
from wsolrefine.functional._grid import resize
from wsolrefine.functional.boxes import union_box
from wsolrefine.localization.instances import Instances, instances_of
from wsolrefine.localization.masks import check_parts, check_threshold, objects_of
from wsolrefine.localization.supervision import detections_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = 16
"""At most so many maps are drawn into one picture."""


@dataclass(frozen=True, repr=False, eq=False)
class Localization:
    """Classes, heatmaps, masks and boxes of a batch of B images, K classes each.

    Everything lies on the device of the images and has no graph. In a notebook it shows itself as a
    picture: image, heatmap, mask and boxes, a row for each class.

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

    def plot(self) -> Figure:
        """Draw image, heatmap, mask and boxes of each class, at most 16 rows.

        Returns:
            A matplotlib figure.

        Raises:
            ImportError: matplotlib or Pillow is not installed (extra ``cli``).
            ValueError: there are no images, or none with a class.

        """
        from wsolrefine.viz.sheets import draw_sheet

        rows: list[list[Any]] = []
        captions: list[str] = []
        for image in range(len(self)):
            labels = [pair for pair in enumerate(self.labels[image].tolist()) if pair[1] >= 0]
            if len(rows) >= ROWS or not labels:
                continue
            pixels = self._pixels(image)
            for place, label in labels[: ROWS - len(rows)]:
                rows.append(self._row(pixels, image, place))
                captions.append(f"{self._name(label)}, {self.scores[image, place]:.0%}")
        last = "boxes" if self.parts == "instances" else "box"
        titles = ("image", f"heatmap ({self.method})", f"mask (> {self.threshold:g})", last)
        return draw_sheet(rows, titles, captions=captions)

    def _repr_png_(self) -> bytes | None:
        """Return the picture that a notebook shows; None, and it shows the text, if none can be."""
        from io import BytesIO

        if not bool((self.labels >= 0).any()):
            return None
        buffer = BytesIO()
        try:
            self.plot().savefig(buffer, format="png")
        except ImportError:  # of matplotlib or Pillow, which are optional
            return None
        return buffer.getvalue()

    def _name(self, label: int) -> str:
        names = self.class_names or ()
        return names[label].split(",")[0] if label < len(names) else str(label)

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

    def _pixels(self, image: int) -> Tensor:
        """Return an image as ``(H, W, 3)`` uint8 at the size of the maps, gray if there is none."""
        size = (self.maps.shape[-2], self.maps.shape[-1])
        if self.images is None:
            return torch.full((*size, 3), 128, dtype=torch.uint8)
        if not isinstance(self.images, Tensor):  # one PIL image
            import numpy as np

            return torch.from_numpy(np.array(self.images.resize(size[::-1])))
        colors = to_colors(self.images[image : image + 1].detach().float())
        return (resize(colors, size)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu()
