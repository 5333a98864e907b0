"""The lists of images, labels and boxes that wsolevaluation ships."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from wsolrefine._options import check_path
from wsolrefine.data._lines import Row, by_id, check_same_ids, grouped, read_rows
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import AS_STORED, ImagePolicy
from wsolrefine.data.reader import Box, Reader, Transform, as_boxes, check_folder

SIZES = "image_sizes.txt"
BOXES = "localization.txt"


class WsolEvaluation(Reader):
    """One split of a data set in the lists of wsolevaluation, such as ``metadata/CUB/test``.

    It has ``image_ids.txt`` and ``class_labels.txt`` and, if there are boxes, also
    ``localization.txt`` and ``image_sizes.txt``; ``image_ids_proxy.txt`` is not read. The protocol
    takes the corners of a box as its first and its last pixel; the half-open box here is
    ``x0 y0 x1+1 y1+1``, whose last pixel is the same. Boxes may end one pixel outside the image, as
    some do in the lists.

    Args:
        metadata: the folder with the lists of one split.
        images: the folder that the ids are relative to; None: the images cannot be opened.
        transform: applied to each image.
        policy: how image files become pixels; by default as they are stored, which
            the annotations refer to.

    Raises:
        OSError: a file is missing; without ``localization.txt`` there are no boxes, without
            ``image_sizes.txt`` no sizes.
        ValueError: a line is malformed, or an id is missing from a list (the message names file and
            line).

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> metadata = Path(mkdtemp())
        >>> _ = (metadata / "image_ids.txt").write_text("a/1.jpg")
        >>> _ = (metadata / "class_labels.txt").write_text("a/1.jpg,7")
        >>> _ = (metadata / "image_sizes.txt").write_text("a/1.jpg,500,375")
        >>> _ = (metadata / "localization.txt").write_text("a/1.jpg,10,20,30,40")
        >>> annotation = WsolEvaluation(metadata).annotations[0]
        >>> annotation[:3], annotation.boxes.tolist()
        (('a/1.jpg', 7, (375, 500)), [[10.0, 20.0, 31.0, 41.0]])

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.

    """

    def __init__(
        self,
        metadata: str | PathLike[str],
        *,
        images: str | PathLike[str] | None = None,
        transform: Transform | None = None,
        policy: ImagePolicy = AS_STORED,
    ) -> None:
        folder = Path(check_path("metadata", metadata))
        check_folder("metadata", folder)
        root = None if images is None else Path(check_path("images", images))
        if root is not None:
            check_folder("images", root)
        annotations, self._lines, self._box_lines = _annotations(folder)
        super().__init__(root, annotations, None, transform, policy=policy)
        self._sizes, self._boxes = folder / SIZES, folder / BOXES

    def _size_source(self, index: int) -> str:
        return f"{self._sizes}:{self._lines[self.annotations[index].image_id]}"

    def _box_source(self, index: int, number: int) -> str:
        return f"{self._boxes}:{self._box_lines[self.annotations[index].image_id][number]}"


def labeled(folder: Path) -> tuple[dict[str, Row], dict[str, int]]:
    """Return the rows of ``image_ids.txt`` and the labels of ``class_labels.txt``, by image."""
    ids = by_id(read_rows(folder / "image_ids.txt", "id"))
    labels = by_id(read_rows(folder / "class_labels.txt", "id,label"))
    check_same_ids(ids, labels.values(), "class_labels.txt")
    return ids, {row.path(0): labels[key].whole(1) for key, row in ids.items()}


def _annotations(folder: Path) -> tuple[list[Annotation], dict[str, int], dict[str, list[int]]]:
    """Return the annotations, and the lines of each image in the lists of sizes and boxes."""
    ids, labels = labeled(folder)
    sizes: dict[str, Row] = {}
    boxes: dict[str, list[Row]] = {}
    if os.path.lexists(file := folder / SIZES):  # a broken link is not "no sizes"
        sizes = by_id(read_rows(file, "id,width,height"))
        check_same_ids(ids, sizes.values(), file.name)
    if os.path.lexists(file := folder / BOXES):
        rows = read_rows(file, "id,x0,y0,x1,y1")
        check_same_ids(ids, rows, file.name)
        boxes = grouped(rows)
    annotations = [
        Annotation(
            image_id,
            label,
            _size(sizes[image_id]) if sizes else None,
            as_boxes(_half_open(row) for row in boxes.get(image_id, ())),
        )
        for image_id, label in labels.items()
    ]
    return (
        annotations,
        {image_id: row.line for image_id, row in sizes.items()},
        {image_id: [row.line for row in rows] for image_id, rows in boxes.items()},
    )


def _size(row: Row) -> tuple[int, int]:
    width, height = row.whole(1), row.whole(2)
    if not (width and height):
        raise row.error("width and height above 0", f"{width} x {height}")
    return height, width


def _half_open(row: Row) -> Box:
    x0, y0, x1, y1 = (row.whole(field) for field in range(1, 5))
    if x1 < x0 or y1 < y0:
        raise row.error("a box with x0 <= x1 and y0 <= y1", ",".join(row.fields[1:]))
    return x0, y0, x1 + 1, y1 + 1
