"""OpenImages-30k: the images with masks that wsolevaluation selected from OpenImages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from wsolrefine._options import check_path
from wsolrefine.data._lines import Row, check_same_ids, grouped, read_rows
from wsolrefine.data._masks import read_gray, to_mask
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import AS_STORED, ImagePolicy
from wsolrefine.data.reader import Reader, Transform, as_boxes, check_folder, check_split
from wsolrefine.data.wsolevaluation import labeled


class OpenImages(Reader):
    """OpenImages-30k: masks of 100 classes; no boxes, and only labels in ``train``.

    An image has masks of one or more instances, and possibly a mask of regions to ignore, where
    instances are not outlined. Any gray level above 0 counts::

        object  = mask_1 or mask_2 or ...
        ignored = ignore and not object

    Args:
        root: the folder of the images and the masks, with ``train``, ``val`` and ``test`` in it.
        metadata: the folder of the lists, such as ``metadata/OpenImages``, with the same folders.
        split: ``"train"``, ``"val"`` or ``"test"``.
        transform: applied to each image.
        policy: how image files become pixels; by default as they are stored, which
            the annotations refer to.

    Raises:
        OSError: a file is missing; ``train`` needs no ``localization.txt``.
        ValueError: a line is malformed or an id is missing from a list (the message names file and
            line), or the split is unknown.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> root = Path(mkdtemp())
        >>> (root / "test").mkdir()
        >>> _ = (root / "test/image_ids.txt").write_text("test/a.jpg")
        >>> _ = (root / "test/class_labels.txt").write_text("test/a.jpg,3")
        >>> _ = (root / "test/localization.txt").write_text("test/a.jpg,test/a_m0.png,")
        >>> dataset = OpenImages(root, metadata=root)
        >>> dataset.annotations[0].label, dataset.has_masks
        (3, True)

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020;
        Benenson et al., "Large-scale Interactive Object Segmentation with Human Annotators", 2019.

    """

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        metadata: str | PathLike[str],
        split: str = "test",
        transform: Transform | None = None,
        policy: ImagePolicy = AS_STORED,
    ) -> None:
        check_split(split, ("train", "val", "test"))
        images = Path(check_path("root", root))
        folder = Path(check_path("metadata", metadata)) / split
        check_folder("root", images)
        check_folder("metadata", folder)
        ids, labels = labeled(folder)
        annotations = [Annotation(i, label, None, as_boxes([])) for i, label in labels.items()]
        super().__init__(images, annotations, None, transform, policy=policy)
        self._files: dict[str, _Files] = {}
        file = folder / "localization.txt"
        if split != "train" or os.path.lexists(file):
            rows = read_rows(file, "id,mask,ignore")
            check_same_ids(ids, rows, file.name)
            self._files = {image_id: _files(rows) for image_id, rows in grouped(rows).items()}
            self._masks = images

    def mask(self, index: int, size: Sequence[int] | None = None) -> Tensor:
        """Return the mask of an image.

        Args:
            index: number of the image.
            size: height and width that its files are resized to before they are combined, with
                OpenCV's nearest neighbor; wsolevaluation uses (224, 224). None: the size of the
                first file.

        Returns:
            ``(H, W)`` uint8: 1 object, 0 background, 255 ignored.

        Raises:
            OSError: a file cannot be read.
            ValueError: the image has no mask, or a file is not a mask.

        """
        image_id = self.annotations[index].image_id
        if self._masks is None:
            raise ValueError(f"mask: expected an image that has a mask, got {image_id}")
        masks, ignore = self._files[image_id]
        first = read_gray(self._masks / masks[0], size)
        side = first.shape[0], first.shape[1]
        objects = [first > 0, *(read_gray(self._masks / mask, side) > 0 for mask in masks[1:])]
        ignored = None if ignore is None else read_gray(self._masks / ignore, side) > 0
        return to_mask(np.logical_or.reduce(objects), ignored)


class _Files(NamedTuple):
    """Where the masks of one image are, below the root."""

    masks: list[str]
    ignore: str | None


def _files(rows: list[Row]) -> _Files:
    for row in rows[1:]:
        if row.fields[2]:
            raise row.error(f"no ignore after line {rows[0].line}", row.fields[2])
    ignore = rows[0].path(2) if rows[0].fields[2] else None
    return _Files([row.path(1) for row in rows], ignore)
