"""What all data sets have in common: annotations in memory, images in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wsolrefine._options import check_function, check_kind
from wsolrefine.data._masks import read_gray, to_mask
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import AS_STORED, ImagePolicy, image_size, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

Transform = Callable[[Any], Any]
Box = tuple[float, float, float, float]


class Reader(Dataset[tuple[Any, Annotation]]):
    """Images with their annotations.

    Attributes:
        annotations: an :class:`wsolrefine.data.Annotation` for each image.
        class_names: the name of each class, or None.
        policy: how images are read, a :class:`wsolrefine.data.ImagePolicy`. Boxes and masks refer
            to pixels as they are stored, so images with boxes or masks are not turned upright.

    """

    annotations: list[Annotation]
    class_names: list[str] | None
    policy: ImagePolicy
    _object_above = 127  # mask pixels with a higher gray level are object

    def __init__(
        self,
        images: Path | None,
        annotations: list[Annotation],
        class_names: list[str] | None,
        transform: Transform | None,
        *,
        masks: Path | None = None,
        policy: ImagePolicy = AS_STORED,
    ) -> None:
        check_function("transform", transform)
        check_kind("policy", policy, ImagePolicy, "an ImagePolicy")
        self._images, self._masks, self._transform = images, masks, transform
        self.annotations, self.class_names = annotations, class_names
        self.policy = policy

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> tuple[Any, Annotation]:
        image: Any = self.image(index)
        if self._transform is not None:
            image = self._transform(image)
        return image, self.annotations[index]

    def image(self, index: int) -> Image:
        """Return an image as a PIL image of mode RGB, read as ``policy`` says."""
        return read_image(self.image_path(index), self.policy)

    def image_path(self, index: int) -> Path:
        """Return the path of an image's file."""
        if self._images is None:
            raise ValueError("images: expected the folder of the images, got None")
        return self._images / self.annotations[index].image_id

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image, from its file if the annotations do not give it."""
        return self.annotations[index].size or image_size(self.image_path(index), self.policy)

    def disagreement(self, index: int, size: tuple[int, int] | None = None) -> str | None:
        """Return how the size in the annotations differs from that of the image, or None.

        Boxes are scaled by the size in the annotations, so a wrong one is a wrong result. A smaller
        or larger copy of the image agrees: only the aspect counts, up to rounding to whole pixels.

        Args:
            index: number of the image.
            size: (height, width) of the image if it is open already; None: read from its file.

        Returns:
            ``WHERE: expected 640 x 480, as in the image, got 480 x 640``; None if they agree, or if
            the annotations give no size.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no image.

        """
        listed = self.annotations[index].size
        if listed is None:
            return None
        height, width = size or image_size(self.image_path(index), self.policy)
        return None if _rounded(height, width, listed) else self._size_error(index, (height, width))

    def _size_error(self, index: int, size: tuple[int, int]) -> str:
        """Return the error of a size in the annotations that is not the (height, width) given."""
        name, _, listed, _ = self.annotations[index]
        got = "none" if listed is None else f"{listed[1]} x {listed[0]}"
        where = self._size_source(index)
        return f"{where}: expected {size[1]} x {size[0]}, as in {name}, got {got}"

    def _size_source(self, index: int) -> str:
        """Return the file, and the line if it has one, that gives the size of an image."""
        return "annotation"

    def _box_source(self, index: int, number: int) -> str:
        """Return the file, and the line if it has one, that gives a box of an image."""
        return f"boxes of {self.annotations[index].image_id}"

    @property
    def has_masks(self) -> bool:
        """Whether the data set has pixel masks; :meth:`has_mask` says so for one image."""
        return self._masks is not None

    def has_mask(self, index: int) -> bool:
        """Return whether this image should have a mask."""
        return self.has_masks

    def mask(self, index: int, size: Sequence[int] | None = None) -> Tensor:
        """Return the mask of an image.

        Args:
            index: number of the image.
            size: height and width to resize the mask to, with OpenCV's nearest neighbor; None:
                as it is stored.

        Returns:
            ``(H, W)`` uint8: 1 object, 0 background, 255 ignored.

        Raises:
            OSError: its file cannot be read.
            ValueError: the image has no mask, or its file is not a mask.

        """
        if self._masks is None or not self.has_mask(index):
            got = self.annotations[index].image_id
            raise ValueError(f"mask: expected an image that has a mask, got {got}")
        gray = read_gray(self._mask_path(self._masks, index), size, above=self._object_above)
        return to_mask(gray > self._object_above)

    def _mask_path(self, masks: Path, index: int) -> Path:
        return (masks / self.annotations[index].image_id).with_suffix(".png")

    def __getstate__(self) -> dict[str, Any]:
        # Spawned workers get the data set pickled, and torch would open a file for each of its
        # thousands of tensors. NumPy arrays are pickled by value.
        packed = [(*annotation[:3], annotation.boxes.numpy()) for annotation in self.annotations]
        return self.__dict__ | {"annotations": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed = state["annotations"]
        annotations = [
            Annotation(image_id, label, size, torch.from_numpy(boxes))
            for image_id, label, size, boxes in packed
        ]
        self.__dict__.update(state | {"annotations": annotations})


def _rounded(height: int, width: int, listed: tuple[int, int]) -> bool:
    """Tell whether a size is a listed one, scaled and rounded."""
    by_width, by_height = width * listed[0] / listed[1], height * listed[1] / listed[0]
    return abs(height - by_width) <= 1 or abs(width - by_height) <= 1


def as_boxes(boxes: Iterable[Box]) -> Tensor:
    """Return boxes as a tensor ``(n, 4)`` float32."""
    return torch.from_numpy(np.array([*boxes], dtype=np.float32).reshape(-1, 4))


def check_split(split: str, splits: Sequence[str]) -> None:
    """Raise unless the data set has the split."""
    if not isinstance(split, str) or split not in splits:
        *others, last = splits
        raise ValueError(f"split: expected {', '.join(others)} or {last}, got {split!r}")


def check_folder(name: str, folder: Path) -> None:
    """Raise unless the argument ``name`` is a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{name}: expected a folder, got {folder}")
