"""The folder that a format is written to, which appears whole or not at all; images in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from wsolrefine._options import check_choice, check_path
from wsolrefine.data._lines import stays_below
from wsolrefine.data.images import SUFFIXES
from wsolrefine.export.records import Record

Images = Literal["link", "copy", "none"]
"""How images come into a data set: as symbolic links, as copies, or not at all."""


def check_images(images: Any) -> Images:
    """Return how images come into a data set, or raise."""
    chosen: Images = check_choice("images", images, get_args(Images))
    return chosen


@contextlib.contextmanager
def new_folder(out: str | PathLike[str]) -> Iterator[Path]:
    """Yield a hidden folder beside ``out``, which becomes ``out`` when the body has ended.

    If the body raises, it is removed.

    Raises:
        ValueError: ``out`` is there, and is not an empty folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with new_folder(Path(parent) / "set") as folder:
        ...         _ = (folder / "a.txt").write_text("a")
        ...     [path.name for path in (Path(parent) / "set").iterdir()]
        ['a.txt']

    """
    target = Path(os.path.abspath(check_path("out", out)))  # noqa: PTH100 - links stay links
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise ValueError(f"out: expected a new or empty folder, got {target}, which has content")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".wsolrefine-tmp-{uuid.uuid4().hex}"
    try:
        folder.mkdir()  # in here, because Ctrl-C may come right after it
        yield folder
        if target.is_dir():
            target.rmdir()
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Stems:
    """Names of files without suffix, one for each record: ``a.jpg`` and ``a.png`` need two."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, record: Record) -> str:
        """Return a relative path without suffix that no other record has.

        Raises:
            ValueError: the name of the record leads out of a folder.

        Example:
            >>> stems = Stems()
            >>> [stems.of(Record(name, 1, 1)) for name in ("b/a.jpg", "b/a.png")]
            ['b/a', 'b/a.png']

        """
        name = record.name
        if not stays_below(name):
            raise ValueError(
                f"records: expected names that stay below their folder, got {name!r:.80}"
            )
        suffix = PurePosixPath(name).suffix
        stem = name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name
        number = 1
        candidates = iter((stem, name))
        while (chosen := next(candidates, f"{name}-{number}")).casefold() in self._used:
            number += 1
        self._used.add(chosen.casefold())  # some file systems have no other case
        return chosen


def suffix_of(record: Record) -> str:
    """Return the suffix of the image of a record, that of its name if it has no file."""
    named = PurePosixPath(record.name).suffix
    if named.lower() in SUFFIXES or record.image is None:
        return named if named.lower() in SUFFIXES else ""
    return Path(record.image).suffix


def place_image(record: Record, target: Path, how: Images) -> None:
    """Link or copy the image of a record.

    Raises:
        OSError: it cannot be done.
        ValueError: the record has no image, or its file is gone.

    """
    if how == "none":
        return
    if record.image is None:
        raise ValueError(
            f"images: expected 'none', got {how!r}: {record.name!r} has no file on this machine"
        )
    source = Path(os.path.abspath(record.image))  # noqa: PTH100 - links stay links
    if not source.is_file():
        raise ValueError(f"images: expected the image of {record.name!r}, got no file {source}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        target.symlink_to(source)
    else:
        shutil.copyfile(source, target)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, with the same ends of lines everywhere; make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
