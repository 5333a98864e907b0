"""The data set of ``train``: its reader, and checks of what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from wsolrefine.cli.console import stop
from wsolrefine.cli.options import Dataset
from wsolrefine.data import CUB, ILSVRC, OpenImages, WsolEvaluation
from wsolrefine.data.folder import ImageFolder
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
    }
    try:
        reader = readers[kind]()
    except (OSError, ValueError) as error:
        stop(error, 2 if str(error).startswith("split:") else 1)
    count, classes = len(reader), number_of_classes(reader)
    if count < 2:
        stop(f"--dataset {kind}: expected at least 2 images to train on, got {count}", 1)
    for annotation in reader.annotations:
        if not 0 <= annotation.label < classes:
            name, got = annotation.image_id, annotation.label
            stop(f"{name}: label: expected 0 to {classes - 1}, got {got}", 1)
    missing = next((p for i in range(count) if not (p := reader.image_path(i)).is_file()), None)
    if missing is not None:
        stop(f"{missing}: expected an image, got no file", 1)
    return reader


def number_of_classes(reader: Reader) -> int:
    """Return the number of classes of a data set: of its names, or else by its largest label."""
    if reader.class_names:
        return len(reader.class_names)
    return 1 + max((annotation.label for annotation in reader.annotations), default=0)


def fingerprint(reader: Reader) -> dict[str, Any]:
    """Return what identifies the images, independent of their folder."""
    digest = hashlib.sha256()
    for annotation in reader.annotations:
        digest.update(f"{annotation.image_id}\0{annotation.label}\n".encode("utf-8", "replace"))
    return {
        "images": len(reader),
        "classes": number_of_classes(reader),
        "sha256": digest.hexdigest(),
    }
