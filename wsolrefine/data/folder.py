"""A folder of images with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from wsolrefine._options import check_path
from wsolrefine.data.annotation import Annotation
from wsolrefine.data.images import SUFFIXES, UPRIGHT, ImagePolicy
from wsolrefine.data.reader import Reader, Transform, as_boxes, check_folder


class ImageFolder(Reader):
    """Your own images: each subfolder is a class, named after the folder; no boxes, no masks.

    Classes are numbered in the order of their names. Images may lie at any depth below the folder
    of their class: files with the suffix of an image format, in any case. Other files, and files
    and folders whose name starts with a dot, are skipped. Images are turned upright as their EXIF
    data says, as there are no boxes that this could invalidate. A folder that links lead to twice
    is read once, one above never; a file that is in two classes is an error.

    Args:
        root: the folder that contains the class folders.
        transform: applied to each image.
        policy: how image files become pixels; by default upright.

    Raises:
        OSError: there is no such folder, or it may not be read.
        ValueError: there is no class, a class has no image, an image is in ``root`` itself, or
            links make one file an image of two classes.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> root = Path(mkdtemp())
        >>> for name in ("wren/a.png", "crane/b.png"):
        ...     (root / name).parent.mkdir()
        ...     Image.new("L", (8, 6)).save(root / name)
        >>> dataset = ImageFolder(root)
        >>> dataset.class_names, [found[:2] for found in dataset.annotations]
        (['crane', 'wren'], [('crane/b.png', 0), ('wren/a.png', 1)])
        >>> dataset[0][0].mode, dataset.size(0)
        ('RGB', (6, 8))

    """

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        transform: Transform | None = None,
        policy: ImagePolicy = UPRIGHT,
    ) -> None:
        base = Path(check_path("root", root))
        check_folder("root", base)
        entries = sorted(entry for entry in base.iterdir() if not entry.name.startswith("."))
        beside = [entry.name for entry in entries if _is_image(entry)]
        if beside:
            raise ValueError(
                f"root: expected one subfolder per class, got {beside[0]} in {base} itself"
            )
        classes = [entry for entry in entries if entry.is_dir()]
        if not classes:
            raise ValueError(f"root: expected one subfolder per class, got none in {base}")
        annotations = []
        for label, folder in enumerate(classes):
            files = [path.relative_to(base).as_posix() for path in _images(folder)]
            if not files:
                raise ValueError(f"{folder}: expected at least one image, got none")
            annotations += [Annotation(file, label, None, as_boxes([])) for file in files]
        _check_labels(base, annotations)
        super().__init__(
            base, annotations, [folder.name for folder in classes], transform, policy=policy
        )


class UnlabeledFolder(Reader):
    """Images without classes, at any depth below a folder; no boxes, no masks.

    Which files count, and how links are followed, is as for :class:`ImageFolder`. Every label is
    -1, which is no class.

    Args:
        root: the folder.
        transform: applied to each image.
        policy: how image files become pixels; by default upright.

    Raises:
        OSError: there is no such folder, or it may not be read.
        ValueError: there is no image.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> root = Path(mkdtemp())
        >>> (root / "2024").mkdir()
        >>> for name in ("b.png", "2024/a.png"):
        ...     Image.new("L", (8, 6)).save(root / name)
        >>> [found[:2] for found in UnlabeledFolder(root).annotations]
        [('2024/a.png', -1), ('b.png', -1)]

    """

    def __init__(
        self,
        root: str | PathLike[str],
        *,
        transform: Transform | None = None,
        policy: ImagePolicy = UPRIGHT,
    ) -> None:
        base = Path(check_path("root", root))
        check_folder("root", base)
        files = [path.relative_to(base).as_posix() for path in _images(base)]
        if not files:
            raise ValueError(f"root: expected at least one image, got none in {base}")
        annotations = [Annotation(file, -1, None, as_boxes([])) for file in files]
        super().__init__(base, annotations, None, transform, policy=policy)


def _is_image(path: Path) -> bool:
    # A broken link or a pipe counts, so that whoever reads it says so: an image less is not silent.
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _check_labels(base: Path, annotations: Sequence[Annotation]) -> None:
    """Raise if a file has two labels, because a link leads from one class to another."""
    seen: dict[int, Annotation] = {}
    for annotation in annotations:
        path = base / annotation.image_id
        try:
            found = path.stat()
        except OSError:  # as a broken link, which whoever reads it names
            continue
        # Not the real path, which takes a system call for each folder, and misses hard links.
        key = hash((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        first = seen.setdefault(key, annotation)
        if first.label != annotation.label and path.samefile(base / first.image_id):
            raise ValueError(
                f"{path}: expected an image of one class, got the file of "
                f"{base / first.image_id} again"
            )


def _images(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder in the order of their paths."""
    # Links may form a cycle, and a folder above also contains the other classes.
    seen = {str(parent) for parent in Path(os.path.realpath(folder)).parents}

    def walk(place: Path) -> Iterator[Path]:
        real = os.path.realpath(place)
        if real in seen:
            return
        seen.add(real)
        for entry in sorted(place.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from walk(entry)
            elif _is_image(entry):
                yield entry

    yield from walk(folder)
