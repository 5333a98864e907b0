"""The data set of ``evaluate``: its reader, folders and splits."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.agreement import Agreement
from wsolrefine.cli.files import kind_of
from wsolrefine.cli.options import Dataset, data_error, parse_path
from wsolrefine.data import CUB, ILSVRC, OpenImages, WsolEvaluation

SPLITS = {Dataset.cub: "test", Dataset.ilsvrc: "val", Dataset.openimages: "test"}
"""The default splits: those that papers report."""

Reader = CUB | ILSVRC | OpenImages | WsolEvaluation


class Folders(NamedTuple):
    """Where a data set is: the options of the same names."""

    dataset: Dataset
    root: Path | None
    metadata: Path | None
    masks: Path | None

    def __str__(self) -> str:
        """Return the line of the protocol."""
        lists = self.dataset is Dataset.wsolevaluation
        return f"{self.dataset} ({self.metadata if lists else self.root})"


class Split:
    """A split of a data set: its reader, its name, and how many of its images are evaluated."""

    def __init__(self, reader: Reader, name: str, limit: int | None) -> None:
        self.reader, self.name = reader, name
        self.total = len(reader)
        self.count = self.total if limit is None else min(limit, self.total)
        self.agreement = Agreement(reader, self.count)

    @property
    def has_boxes(self) -> bool:
        """Tell whether any image has a box."""
        return any(len(annotation.boxes) for annotation in self.reader.annotations)

    @property
    def num_classes(self) -> int:
        """Return the number of classes of the data set; without names, that of its labels."""
        if self.reader.class_names:
            return len(self.reader.class_names)
        return 1 + max(annotation.label for annotation in self.reader.annotations)

    def may_have(self, classes: int) -> bool:
        """Tell whether it may have so many classes; labels only say how many at least."""
        if self.reader.class_names:
            return self.num_classes == classes
        return self.num_classes <= classes

    @property
    def description(self) -> str:
        """Return how many images are evaluated, as text."""
        if self.count == self.total:
            return f"{self.count} images"
        return f"the first {self.count} of {self.total} images (--limit)"

    def label(self, index: int) -> int:
        """Return the true class of an image."""
        return self.reader.annotations[index].label

    def image_id(self, index: int) -> str:
        """Return the id of an image."""
        return self.reader.annotations[index].image_id


class Data(NamedTuple):
    """What to evaluate, and the split on which thresholds are chosen; None: the evaluated one."""

    folders: Folders
    split: Split
    threshold_split: Split | None


def open_data(
    folders: Folders, split: str | None, threshold_from: str | None, limit: int | None
) -> Data:
    """Read the annotations of the splits, or stop.

    Args:
        folders: where the data set is.
        split: name of the evaluated split; None: the one that papers report.
        threshold_from: the split on which thresholds are chosen; for wsolevaluation its folder.
        limit: use only this many images of each split, from the first; None: all.

    """
    lists = folders.dataset is Dataset.wsolevaluation
    name = str(folders.metadata) if lists else split or SPLITS[folders.dataset]
    evaluated = _open_split(folders, name, limit)
    if threshold_from is None:
        return Data(folders, evaluated, None)
    if lists and kind_of(parse_path(threshold_from)) != "folder":
        stop(f"--threshold-from: expected a folder of lists, got {threshold_from}")
    same = threshold_from == name
    if lists:
        same = Path(threshold_from).resolve() == Path(name).resolve()
    if same:
        stop(f"--threshold-from: expected another split, got the evaluated split itself, {name}")
    other = _open_split(folders, threshold_from, limit)
    _check_disjoint(evaluated, other)
    for kind, has in (
        ("boxes", (other.has_boxes, evaluated.has_boxes)),
        ("masks", (other.reader.has_masks, evaluated.reader.has_masks)),
    ):
        if has[0] != has[1]:
            only = other.name if has[0] else name
            stop(f"--threshold-from: expected {kind} in both splits, got only {only} with them", 1)
    return Data(folders, evaluated, other)


def _check_disjoint(evaluated: Split, other: Split) -> None:
    """Stop if thresholds would be chosen on images that are evaluated, also with --limit."""
    ids = {annotation.image_id for annotation in other.reader.annotations}
    shared = [found.image_id for found in evaluated.reader.annotations if found.image_id in ids]
    if shared:
        more = ", ..." if len(shared) > 1 else ""
        stop(
            f"--threshold-from: expected other images than those of {evaluated.name}, got "
            f"{other.name} with {len(shared)} of its {evaluated.total} images: {shared[0]}{more}"
        )


def _open_split(folders: Folders, name: str, limit: int | None) -> Split:
    try:
        reader = _reader(folders, name)
    except (OSError, ValueError) as error:
        lists = folders.dataset is Dataset.wsolevaluation
        places = {
            "threshold-from" if lists and Path(name) != folders.metadata else "metadata": (
                Path(name) if lists else folders.metadata
            ),
            "root": folders.root,
            "masks": folders.masks,
        }
        code = 2 if str(error).startswith("split:") else 1  # the option, or else a file
        stop(data_error(error, places), code)
    if not len(reader):
        stop(f"the split {name} of --dataset {folders.dataset} has no image", 1)
    split = Split(reader, name, limit)
    if not (split.has_boxes or reader.has_masks):
        stop(f"the split {name} of --dataset {folders.dataset} has neither boxes nor masks", 1)
    return split


def _reader(folders: Folders, split: str) -> Reader:
    dataset, root, metadata, masks = folders
    if dataset is Dataset.wsolevaluation:
        return WsolEvaluation(Path(split), images=root)
    assert root is not None
    if dataset is Dataset.cub:
        return CUB(root, split=split)
    if dataset is Dataset.ilsvrc:
        return ILSVRC(root, split=split, masks=masks)
    assert metadata is not None
    return OpenImages(root, metadata=metadata, split=split)
