"""ILSVRC CLS-LOC, the 1000 classes of ImageNet, as downloaded; and SEM's masks."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from wsolrefine._options import check_path
from wsolrefine.data._lines import Row, broken, by_id, read_rows
from wsolrefine.data._xml import Objects, half_open, read_objects
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import AS_STORED, ImagePolicy
from wsolrefine.data.reader import Reader, Transform, as_boxes, check_folder, check_split

MAPPING = "LOC_synset_mapping.txt"
NUMBER_OF_CLASSES = 1000
LISTS = {"train": "train_cls.txt", "val": "val.txt"}
SYNSET = re.compile(r"n[0-9]{8}")


class ILSVRC(Reader):
    """ILSVRC CLS-LOC: 1.28 million images of 1000 classes to train, 50,000 with boxes in ``val``.

    A published box gives its first and its last pixel, as SPA and wsolevaluation read it; the
    half-open box here is ``xmin ymin xmax+1 ymax+1``. Only boxes of the image's class count.
    Labels number the synsets in alphabetical order, as is usual, also if the lines of
    ``LOC_synset_mapping.txt`` are in another one.

    In ``train`` about half of the images have boxes; the others have none here, and their size is
    read from the image. All XML files are read at the start, which takes seconds for ``val`` and
    minutes for ``train``.

    SEM's masks cover 44,271 images of ``val``: its authors left out those where it is not clear
    which pixels are object. Only objects of the image's class are marked. The paper splits them
    into 23,151 for validation and 21,120 for test: keep each group in a folder of its own. Object
    is where gray > 128, as in a public evaluation of these masks.

    Args:
        root: the folder ``ILSVRC``, or the one that holds it. ``LOC_synset_mapping.txt`` is in
            one of the two; without it the classes are the folders of the training images, which
            must then be all 1000: a missing one would shift the labels of the others.
        split: ``"train"`` or ``"val"``.
        masks: a folder with masks ``ILSVRC2012_val_00000001.png``; :meth:`has_mask` says which
            images have one.
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
        >>> for folder in ("Annotations", "ImageSets"):
        ...     (root / folder / "CLS-LOC/val").mkdir(parents=True)
        >>> _ = (root / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca")
        >>> _ = (root / "ImageSets/CLS-LOC/val.txt").write_text("ILSVRC2012_val_00000001 1")
        >>> _ = (root / "Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml").write_text(
        ...     "<annotation><size><width>500</width><height>375</height></size>"
        ...     "<object><name>n01440764</name><bndbox><xmin>10</xmin><ymin>20</ymin>"
        ...     "<xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        ... )
        >>> dataset = ILSVRC(root)
        >>> dataset.annotations[0].image_id, dataset.annotations[0].boxes.tolist()
        ('val/ILSVRC2012_val_00000001.JPEG', [[10.0, 20.0, 31.0, 41.0]])

    Reference:
        Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015; masks: Zhang
        et al., "Rethinking Localization Map", 2020, Sec. 4.1.2 and Appendix A.

    """

    _object_above = 128

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        split: str = "val",
        masks: str | PathLike[str] | None = None,
        transform: Transform | None = None,
        policy: ImagePolicy = AS_STORED,
    ) -> None:
        check_split(split, tuple(LISTS))
        base = Path(check_path("root", root))
        check_folder("root", base)
        if not (base / "ImageSets").exists() and (base / "ILSVRC").is_dir():
            base = base / "ILSVRC"
        folder = None if masks is None else Path(check_path("masks", masks))
        if folder is not None:
            check_folder("masks", folder)
        classes = _classes(base)
        labels = {synset: label for label, synset in enumerate(classes)}
        rows = by_id(read_rows(base / "ImageSets/CLS-LOC" / LISTS[split], "id number"))
        self._xml = base / "Annotations/CLS-LOC"
        annotations = [_annotation(self._xml, split, row, labels) for row in rows.values()]
        names = [*classes.values()]
        super().__init__(
            base / "Data/CLS-LOC", annotations, names, transform, masks=folder, policy=policy
        )
        if folder is not None and not any(map(self.has_mask, range(len(self)))):
            raise ValueError(f"masks: expected masks of images of {split}, got none in {folder}")

    def has_mask(self, index: int) -> bool:
        """Return whether this image has a mask."""
        # A broken link or a pipe is a mask that cannot be read, not a mask that is missing.
        return self._masks is not None and os.path.lexists(self._mask_path(self._masks, index))

    def _size_source(self, index: int) -> str:
        return str((self._xml / self.annotations[index].image_id).with_suffix(".xml"))

    def _box_source(self, index: int, number: int) -> str:
        return self._size_source(index)

    def _mask_path(self, masks: Path, index: int) -> Path:
        return masks / f"{self.image_path(index).stem}.png"


def _classes(base: Path) -> dict[str, str]:
    """Return the names of the classes by synset, in alphabetical order of the synsets."""
    for folder in (base, base.parent):
        if os.path.lexists(file := folder / MAPPING):
            rows = by_id(read_rows(file, "synset name", open_end=True))
            for synset, row in rows.items():
                if not SYNSET.fullmatch(synset):
                    raise row.error("a synset such as n01440764", synset)
            return {synset: rows[synset].fields[1] for synset in sorted(rows)}
    train = base / "Data/CLS-LOC/train"
    if not train.is_dir():
        raise FileNotFoundError(f"root: expected a folder with {MAPPING}, got {base}")
    names = sorted(p.name for p in train.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in names:
        if not SYNSET.fullmatch(name):
            raise ValueError(f"{train}: expected folders named by synsets, got {name!r}")
    if len(names) != NUMBER_OF_CLASSES:
        raise ValueError(
            f"{train}: expected {NUMBER_OF_CLASSES} folders, because there is no {MAPPING} in "
            f"{base} that numbers the classes, got {len(names)}"
        )
    return {name: name for name in names}


def _annotation(folder: Path, split: str, row: Row, labels: dict[str, int]) -> Annotation:
    image_id = f"{split}/{row.path(0)}"
    file = folder / f"{image_id}.xml"
    size, objects = (
        read_objects(file) if split == "val" or os.path.lexists(file) else Objects(None, [])
    )
    synset = row.fields[0].split("/")[0]
    if split == "train":
        if synset not in labels:
            raise row.error("a known synset as folder", row.fields[0])
    elif not objects:
        raise broken(file, 1, "at least one object", "none")
    else:
        synset = objects[0]["name"].text
        for fields in objects:
            if (name := fields["name"]).text != synset or synset not in labels:
                raise broken(file, name.line, "one known synset for all objects", name.text)
    boxes = [half_open(file, fields) for fields in objects if fields["name"].text == synset]
    return Annotation(f"{image_id}.JPEG", labels[synset], size, as_boxes(boxes))
