"""The data set of ``evaluate``: which reader, of which folders and split."""

from __future__ import annotations

from pathlib import Path

from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.options import Options
from wsolrefine.cli.options import Dataset
from wsolrefine.data import CUB, ILSVRC, OpenImages, WsolEvaluation

SPLITS = {Dataset.cub: "test", Dataset.ilsvrc: "val", Dataset.openimages: "test"}
"""What is evaluated unless the user says otherwise: the splits that papers report."""


Reader = CUB | ILSVRC | OpenImages | WsolEvaluation


class Split:
    """A split of a data set with its name, and how many of its images are looked at."""

    def __init__(self, reader: Reader, name: str, limit: int | None) -> None:
        self.reader, self.name = reader, name
        self.total = len(reader)
        self.count = self.total if limit is None else min(limit, self.total)

    @property
    def has_boxes(self) -> bool:
        """Tell whether there are boxes, or masks only."""
        return any(len(annotation.boxes) for annotation in self.reader.annotations)

    @property
    def classes(self) -> int:
        """Return the number of classes of the data set."""
        if self.reader.class_names:
            return len(self.reader.class_names)
        return 1 + max(annotation.label for annotation in self.reader.annotations)

    def label(self, index: int) -> int:
        """Return the true class of an image."""
        return self.reader.annotations[index].label

    def image_id(self, index: int) -> str:
        """Return the name of an image."""
        return self.reader.annotations[index].image_id


def evaluated_name(options: Options) -> str:
    """Return the name of the split that is evaluated, the metadata folder for wsolevaluation."""
    if options.dataset is Dataset.wsolevaluation:
        return str(options.metadata)
    return options.split or SPLITS[options.dataset]


def open_split(options: Options, name: str) -> Split:
    """Read the annotations of a split, or stop with the reason."""
    try:
        reader = _reader(options, name)
    except (OSError, ValueError) as error:
        # What is wrong is the option, or else a file.
        stop(error, 2 if str(error).startswith("split:") else 1)
    if not len(reader):
        stop(f"the split {name} of --dataset {options.dataset} has no image", 1)
    split = Split(reader, name, options.limit)
    if not (split.has_boxes or reader.has_masks):
        stop(f"the split {name} of --dataset {options.dataset} has neither boxes nor masks", 1)
    return split


def _reader(options: Options, split: str) -> Reader:
    kind, root, metadata = options.dataset, options.root, options.metadata
    if kind is Dataset.wsolevaluation:
        return WsolEvaluation(Path(split), images=root)
    assert root is not None
    if kind is Dataset.cub:
        return CUB(root, split=split)
    if kind is Dataset.ilsvrc:
        return ILSVRC(root, split=split, masks=options.masks)
    assert metadata is not None
    return OpenImages(root, metadata=metadata, split=split)
