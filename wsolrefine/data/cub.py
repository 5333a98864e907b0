"""CUB-200-2011 in the layout in which it is downloaded."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from wsolrefine._options import check_path
from wsolrefine.data._lines import Row, by_id, check_same_ids, read_rows
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import AS_STORED, ImagePolicy
from wsolrefine.data.reader import Box, Reader, Transform, as_boxes, check_folder, check_split

FORMS = {
    "image_class_labels": "number class",
    "train_test_split": "number training",
    "bounding_boxes": "number x y width height",
}


class CUB(Reader):
    """CUB-200-2011: 11,788 photographs of 200 bird species, one box each, with masks.

    The box ``x y width height`` of the annotations is the half-open box ``x y x+width y+height``.
    wsolevaluation's lists take the same corners as inclusive: its boxes are one pixel larger, see
    :class:`wsolrefine.data.WsolEvaluation`.

    The masks come as a separate archive, to be unpacked into ``segmentations`` in the data set's
    folder or next to it. Their gray levels count the votes of five annotators; object is where
    gray > 127, that is, where at least three of them agree.

    Args:
        root: the folder ``CUB_200_2011``, or the one that holds it.
        split: ``"train"``, ``"test"`` or ``"all"``.
        transform: applied to each image.
        policy: how image files become pixels; by default as they are stored, which
            the annotations refer to.

    Raises:
        OSError: a file is missing.
        ValueError: a line is malformed (the message names file and line), or the split is unknown.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> root = Path(mkdtemp())
        >>> for name, line in {
        ...     "classes": "1 001.Black_footed_Albatross",
        ...     "images": "1 001.Black_footed_Albatross/a.jpg",
        ...     "image_class_labels": "1 1",
        ...     "train_test_split": "1 0",
        ...     "bounding_boxes": "1 60.0 27.0 325.0 304.0",
        ... }.items():
        ...     _ = (root / f"{name}.txt").write_text(line)
        >>> dataset = CUB(root)
        >>> dataset.annotations[0].image_id, dataset.annotations[0].boxes.tolist()
        ('001.Black_footed_Albatross/a.jpg', [[60.0, 27.0, 385.0, 331.0]])

    Reference:
        Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", 2011.

    """

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        split: str = "test",
        transform: Transform | None = None,
        policy: ImagePolicy = AS_STORED,
    ) -> None:
        check_split(split, ("train", "test", "all"))
        base = Path(check_path("root", root))
        check_folder("root", base)
        if not (base / "images.txt").exists() and (base / "CUB_200_2011").is_dir():
            base = base / "CUB_200_2011"
        folders = base / "segmentations", base.parent / "segmentations"
        masks = next((folder for folder in folders if folder.is_dir()), None)
        annotations, names, self._lines = _annotations(base, split)
        self._boxes = base / "bounding_boxes.txt"
        super().__init__(base / "images", annotations, names, transform, masks=masks, policy=policy)

    def _box_source(self, index: int, number: int) -> str:
        return f"{self._boxes}:{self._lines[index]}"


def _annotations(base: Path, split: str) -> tuple[list[Annotation], list[str], list[int]]:
    """Return the annotations, the names of the classes, and the line of each image's box."""
    images = by_id(read_rows(base / "images.txt", "number path", open_end=True))
    classes = by_id(read_rows(base / "classes.txt", "number name", open_end=True))
    tables: dict[str, dict[str, Row]] = {}
    for name, form in FORMS.items():
        tables[name] = by_id(read_rows(base / f"{name}.txt", form))
        check_same_ids(images, tables[name].values(), f"{name}.txt")
    for label, (number, row) in enumerate(classes.items(), 1):
        if number != str(label):
            raise row.error(f"class {label}", number)
    by_id(row._replace(fields=[row.path(1)]) for row in images.values())  # paths must be unique

    names = {row.fields[1] for row in classes.values()}
    found, lines = [], []
    for number, image in images.items():
        kind, training, box = (tables[name][number] for name in FORMS)
        if kind.fields[1] not in classes:
            raise kind.error("a class that is in classes.txt", kind.fields[1])
        folder, name = image.path(1).split("/")[0], classes[kind.fields[1]].fields[1]
        if folder != name and folder in names:
            raise kind.error(f"the class of the folder {folder}", name)
        if training.fields[1] not in ("0", "1"):
            raise training.error(f"{training.form} with 1 or 0", training.fields[1])
        if split in ("all", "train" if training.fields[1] == "1" else "test"):
            boxes = as_boxes([_corners(box)])
            found.append(Annotation(image.path(1), kind.whole(1) - 1, None, boxes))
            lines.append(box.line)
    return found, [row.fields[1] for row in classes.values()], lines


def _corners(row: Row) -> Box:
    x, y, width, height = (row.decimal(field) for field in range(1, 5))
    if not (width > 0 and height > 0):
        raise row.error("a box with width and height above 0", f"{width:g} x {height:g}")
    return x, y, x + width, y + height
