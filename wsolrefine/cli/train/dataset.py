"""The data set of ``train``: its reader, and checks of what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import MISSING, kind_of
from wsolrefine.cli.options import Dataset, data_error
from wsolrefine.cli.train.options import RecipeName
from wsolrefine.data import CUB, ILSVRC, OpenImages, WsolEvaluation
from wsolrefine.data.folder import ImageFolder, UnlabeledFolder
from wsolrefine.data.reader import Reader


def open_reader(settings: dict[str, Any]) -> Reader:
    """Read the annotations of the training images, or stop."""
    kind, root, split = Dataset(settings["dataset"]), settings["root"], settings["split"]
    readers: dict[Dataset, Callable[[], Reader]] = {
        Dataset.cub: lambda: CUB(root, split=split),
        Dataset.ilsvrc: lambda: ILSVRC(root, split=split),
        Dataset.openimages: lambda: OpenImages(root, metadata=settings["metadata"], split=split),
        Dataset.wsolevaluation: lambda: WsolEvaluation(settings["metadata"], images=root),
        Dataset.folder: lambda: ImageFolder(root),
        Dataset.images: lambda: UnlabeledFolder(root),
    }
    try:
        reader = readers[kind]()
    except (OSError, ValueError) as error:
        code = 2 if str(error).startswith("split:") else 1  # the option, or else a file
        folders = {name: Path(settings[name]) for name in ("metadata", "root") if settings[name]}
        stop(data_error(error, folders), code)
    count = len(reader)
    if count < 2:
        stop(f"--dataset {kind}: expected at least 2 images to train on, got {count}", 1)
    if settings["recipe"] != RecipeName.distill:
        check_classes(reader, settings["classes"])
    missing = next((p for i in range(count) if not (p := reader.image_path(i)).is_file()), None)
    if missing is not None:
        got = kind_of(missing)
        stop(f"{missing}: expected an image, got {'no file' if got == MISSING else got}", 1)
    return reader


def number_of_classes(reader: Reader, classes: int | None) -> int:
    """Return the number of classes: of the names, else as told, else by the largest label."""
    if reader.class_names:
        return len(reader.class_names)
    return classes or 1 + max((annotation.label for annotation in reader.annotations), default=0)


def check_classes(reader: Reader, told: int | None) -> None:
    """Stop if a label is no class, or, where only labels tell the classes, one has no image."""
    classes = number_of_classes(reader, told)
    if told is not None and told != classes:
        stop(f"--classes: expected {classes} as the data set has names, got {told}")
    if classes < 2:
        stop(f"--dataset: expected at least 2 classes, got {classes}", 1)
    for annotation in reader.annotations:
        if not 0 <= annotation.label < classes:
            name, got = annotation.image_id, annotation.label
            stop(f"{name}: label: expected 0 to {classes - 1}, got {got}", 1)
    used = {annotation.label for annotation in reader.annotations}
    if reader.class_names or told is not None or len(used) == classes:
        return
    first = next(label for label in range(classes) if label not in used)
    stop(
        f"--dataset: expected images of every class from 0 to {classes - 1}, the largest label, "
        f"got none of class {first} ({classes - len(used)} classes have none); if that is right, "
        "give the number of classes with --classes",
        1,
    )


def fingerprint(reader: Reader, classes: int | None) -> dict[str, Any]:
    """Return what identifies the images, independent of their folder: names and labels.

    Their content does not count, so that a run can continue with a damaged image mended.
    """
    digest = hashlib.sha256()
    for annotation in reader.annotations:
        line = f"{annotation.image_id}\0{annotation.label}\n"
        digest.update(line.encode("utf-8", "backslashreplace"))
    return {
        "images": len(reader),
        "classes": number_of_classes(reader, classes),
        "sha256": digest.hexdigest(),
    }
