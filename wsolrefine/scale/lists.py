"""The images that a file lists: paths in lines, COCO, rows of Parquet files."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any

from wsolrefine.scale.folders import below
from wsolrefine.scale.items import Item, texts
from wsolrefine.scale.places import Place

PATHS, IDS, LABELS = ("path", "url", "file_name"), ("id", "image_id"), ("label", "labels")
"""Names of the columns of a Parquet file, the first that there is counts."""


def lines_of(place: Place, file: str, root: str | None) -> Iterator[Item]:
    """Yield the image of each line of a text file; the line is its id.

    Args:
        place: the file system of the file.
        file: its path.
        root: folder or address from which relative paths lead; None: the folder of the file.

    """
    roots = _Root(place, file, root)
    with place.files.open(file, "rb") as lines:
        for line in lines:
            name = line.decode("utf-8", "surrogateescape").strip("\r\n")
            if name.strip():
                yield Item(name, roots.of(name))


def coco_images(place: Place, file: str, root: str | None) -> Iterator[Item]:
    """Yield the images of a COCO file, with the categories of their annotations.

    Args:
        place: the file system of the file.
        file: its path.
        root: see :func:`lines_of`.

    Raises:
        ValueError: it is no COCO file.

    """
    roots = _Root(place, file, root)
    try:
        content = json.loads(place.files.cat_file(file))
        names = {entry["id"]: str(entry["name"]) for entry in content.get("categories", ())}
        of_image: dict[Any, dict[int, None]] = {}
        for entry in content.get("annotations", ()):
            of_image.setdefault(entry["image_id"], {})[int(entry["category_id"])] = None
        found = []
        for image in content["images"]:
            categories = tuple(of_image.get(image["id"], ()))
            labels = tuple(names[category] for category in categories)
            known = (labels, categories) if names else (None, None)
            found.append((image["id"], str(image["file_name"]), *known))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file}: expected images and categories as in COCO, got {got}") from None
    for identity, name, labels_of, categories_of in found:
        yield Item(identity, roots.of(name), labels_of, categories_of)


def row_groups(place: Place, files: list[str], base: str) -> Iterator[Item]:
    """Yield the row groups of Parquet files that hold images."""
    import pyarrow.parquet as pq

    for file in files:
        with place.files.open(file, "rb") as opened:
            number = pq.ParquetFile(opened).num_row_groups
        for group in range(number):
            yield Item(f"{below(file, base)}#{group}", f"{place.address(file)}#{group}")


def rows_of(place: Place, files: list[str], root: str | None, path: str) -> Iterator[Item]:
    """Yield the image of each row of Parquet files.

    Args:
        place: the file system of the files.
        files: their paths.
        root: see :func:`lines_of`.
        path: name of the column with paths.

    Raises:
        ValueError: a file has other columns, or a row has no path.

    """
    import pyarrow.parquet as pq

    for file in files:
        roots = _Root(place, file, root)
        with place.files.open(file, "rb") as opened:
            rows = pq.ParquetFile(opened)
            names = rows.schema_arrow.names
            if path not in names:
                raise ValueError(f"{file}: expected a column {path}, got {', '.join(names)}")
            identity, label = column(names, IDS) or path, column(names, LABELS)
            columns = list(dict.fromkeys(name for name in (identity, path, label) if name))
            for batch in rows.iter_batches(1024, columns=columns):
                for row in batch.to_pylist():
                    if not isinstance(row[path], str):
                        got = repr(row[path])
                        raise ValueError(f"{file}: expected a path in {path}, got {got:.80}")
                    named = texts(row[label]) if label else None
                    yield Item(row[identity], roots.of(row[path]), named)


def column(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """Return the first of the wanted columns that there is."""
    return next((name for name in wanted if name in names), None)


class _Root:
    """Where the relative paths of a list lead from."""

    def __init__(self, place: Place, file: str, root: str | None) -> None:
        if root is None:
            self._place, self._folder = place, posixpath.dirname(file)
        else:
            self._place = Place.of(root)
            self._folder = self._place.path

    def of(self, name: str) -> str:
        """Return how a file is opened that the list names."""
        return self._place.joined(self._folder, name)
