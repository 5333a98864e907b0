"""The results of ``wsolrefine refine`` and ``wsolrefine label`` as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from wsolrefine._options import check_path
from wsolrefine.export.labeled import count, label_names, labeled
from wsolrefine.export.records import Record
from wsolrefine.export.refined import RESULTS, read_refined

LABELED = "label.json"
"""The file that says that a folder is of ``wsolrefine label``."""


@dataclass(frozen=True)
class Results:
    """Records of a folder of results; one can iterate over them more than once.

    Attributes:
        folder: the folder.
        names: names of the classes by index: all of the model for the results of ``refine``, those
            of the rows for ``label``.
        records: those of ``refine``; None: they are read from the parts of ``label``.

    """

    folder: str
    names: dict[int, str]
    records: Sequence[Record] | None = None

    def __iter__(self) -> Iterator[Record]:
        """Yield the record of each image that could be read."""
        return labeled(self.folder) if self.records is None else iter(self.records)

    def __len__(self) -> int:
        """Return the number of images, of ``label`` with those that could not be read."""
        return count(self.folder) if self.records is None else len(self.records)


def read_results(folder: str | PathLike[str]) -> Results:
    """Return the results that ``wsolrefine refine`` or ``wsolrefine label`` wrote to a folder.

    Those of ``refine`` are read from one JSON file into memory; those of ``label`` part by part.

    Args:
        folder: the folder; of ``label`` also an address of fsspec.

    Raises:
        ImportError: a package is not installed that the results of ``label`` need (extra
            ``scale``).
        OSError: something cannot be read.
        TypeError: ``folder`` is no path.
        ValueError: there are no finished results, or a file is damaged.

    Example:
        >>> try:
        ...     read_results("no such folder")
        ... except ValueError as error:
        ...     print(str(error).partition(", got")[0])
        folder: expected the results of wsolrefine refine or label

    """
    place = check_path("folder", folder)
    if _is_labeled(place):
        return Results(place, label_names(place))
    if not (Path(place) / RESULTS).exists():
        expected = "folder: expected the results of wsolrefine refine or label"
        raise ValueError(f"{expected}, got {place}, which has no {RESULTS} or {LABELED}")
    found = read_refined(Path(place))
    return Results(place, found.names, found.records)


def _is_labeled(place: str) -> bool:
    if "://" not in place:
        return (Path(place) / LABELED).is_file()
    from wsolrefine.scale.store import Store

    try:
        return Store(place).exists(LABELED)
    except ImportError as error:
        raise ValueError(
            f"folder: expected a folder or an address, got {place} ({error})"
        ) from None
