"""From the SOURCE of a run to its images: folders, globs, lists, COCO, Parquet, tar, anywhere."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator
from glob import has_magic
from typing import Any, NamedTuple

from wsolrefine.data.images import SUFFIXES
from wsolrefine.scale.items import Item, texts

KINDS = {
    ".parquet": "parquet",
    ".json": "coco",
    ".txt": "list",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
}
"""What a file is by the end of its name; any other is an image."""

PATHS, IDS, LABELS = ("path", "url", "file_name"), ("id", "image_id"), ("label", "labels")
"""Names of the columns of a Parquet file, the first that there is counts; ``image`` holds files."""


class Source(NamedTuple):
    """Images of one kind: ``files``, each of its own, or containers, ``tar`` or ``parquet``."""

    kind: str
    items: Iterator[Item]
    numbered: bool | None = None
    """Whether ids are integers; None: as the first one is."""


class Place(NamedTuple):
    """A file system of fsspec and a path in it."""

    files: Any
    path: str

    @classmethod
    def of(cls, address: str) -> Place:
        """Return the place of an address or a path.

        Raises:
            ValueError: no package is installed for such an address, or it is none.

        """
        from fsspec.core import url_to_fs

        try:
            return cls(*url_to_fs(address))
        except (ImportError, ValueError) as error:
            expected = "SOURCE: expected a path or an address"
            raise ValueError(f"{expected}, got {address}: {error}") from None

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.files, LocalFileSystem)

    def address(self, path: str) -> str:
        """Return how a path in this file system is opened from anywhere."""
        return path if self.is_local else str(self.files.unstrip_protocol(path))


def find(source: str, root: str | None = None) -> Source:
    """Return the images of a source.

    Args:
        source: a folder, an image, a glob, or a file that lists images or holds them.
        root: folder or address from which relative paths in lists lead; None: that of the list.

    Raises:
        OSError: something cannot be read.
        ValueError: there is nothing there, or it is none of these.

    """
    place = Place.of(source)
    root = None if root is None else absolute(root)
    if place.files.exists(place.path):
        found = [place.path]
    elif has_magic(place.path):
        found = sorted(map(str, place.files.glob(place.path)))
    else:
        raise ValueError(f"SOURCE: expected images, got {source} (no such file or folder)")
    if not found:
        raise ValueError(f"SOURCE: expected images, got {source} (the pattern matches nothing)")
    kinds = {"image" if place.files.isdir(path) else _kind(path) for path in found}
    kind = kinds.pop() if len(kinds) == 1 else "image"  # photos/* means the images there
    above = posixpath.commonpath([posixpath.dirname(path) for path in found])
    if len(found) == 1 and place.files.isdir(found[0]):
        above = found[0]
    if kind == "tar":
        tars = (Item(_below(path, above), place.address(path)) for path in found)
        return Source("tar", tars, False)
    if kind == "parquet":
        return _parquet(place, found, above, root)
    if kind in ("coco", "list"):
        if len(found) > 1:
            raise ValueError(f"SOURCE: expected one {kind} file, got {len(found)}")
        lines = _coco if kind == "coco" else _listed
        return Source("files", lines(place, found[0], root))
    return Source("files", _images(place, found, above))


def absolute(address: str) -> str:
    """Return an address, or a path from the root of this machine's files.

    Raises:
        ValueError: it is no address.

    """
    place = Place.of(address)
    return place.address(place.path)


def _kind(path: str) -> str:
    name = posixpath.basename(path).lower()
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), "image")


def _below(path: str, base: str) -> str:
    return posixpath.relpath(path, base) if path != base else posixpath.basename(path)


def _images(place: Place, found: list[str], base: str) -> Iterator[Item]:
    for path in found:
        if place.files.isdir(path):
            for file in _walk(place, path):
                yield Item(_below(file, base), place.address(file))
        elif len(found) == 1 or path.lower().endswith(SUFFIXES):
            yield Item(_below(path, base), place.address(path))


def _walk(place: Place, folder: str) -> Iterator[str]:
    """Yield the image files below a folder in order; a folder reached twice is searched once."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        if place.is_local:
            if (real := os.path.realpath(here)) in seen:
                continue
            seen.add(real)
        entries = [e for e in _entries(place, here) if posixpath.basename(e[0])[:1] != "."]
        waiting.extend(path for path, is_folder in reversed(entries) if is_folder)
        files = (path for path, is_folder in entries if not is_folder)
        yield from (path for path in files if path.lower().endswith(SUFFIXES))


def _entries(place: Place, folder: str) -> list[tuple[str, bool]]:
    if place.is_local:
        with os.scandir(folder) as entries:
            return sorted((posixpath.join(folder, e.name), e.is_dir()) for e in entries)
    found = place.files.ls(folder, detail=True)  # on object stores with the folder itself
    names = ((str(entry["name"]).rstrip("/"), entry["type"] == "directory") for entry in found)
    return sorted(entry for entry in names if entry[0] != folder.rstrip("/"))


def _joined(place: Place, file: str, root: str | None, name: str) -> str:
    """Return where an image is that a list names."""
    if "://" in name:
        return name
    if root is not None:
        return name if posixpath.isabs(name) else f"{root.rstrip('/')}/{name}"
    return place.address(posixpath.join(posixpath.dirname(file), name))


def _listed(place: Place, file: str, root: str | None) -> Iterator[Item]:
    with place.files.open(file, "rb") as lines:
        for line in lines:
            name = line.decode("utf-8", "surrogateescape").strip("\r\n")
            if name.strip():
                yield Item(name, _joined(place, file, root, name))


def _coco(place: Place, file: str, root: str | None) -> Iterator[Item]:
    try:
        content = json.loads(place.files.cat_file(file))
        names = {entry["id"]: str(entry["name"]) for entry in content.get("categories", ())}
        of_image: dict[Any, dict[int, None]] = {}
        for entry in content.get("annotations", ()):
            of_image.setdefault(entry["image_id"], {})[int(entry["category_id"])] = None
        for image in content["images"]:
            categories = tuple(of_image.get(image["id"], ()))
            path = _joined(place, file, root, str(image["file_name"]))
            labels = tuple(names[category] for category in categories)
            yield Item(image["id"], path, labels if names else None, categories if names else None)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file}: expected images and categories as in COCO, got {got}") from None


def _parquet(place: Place, found: list[str], base: str, root: str | None) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with place.files.open(found[0], "rb") as opened:
        schema = pq.read_schema(opened)
    if "image" in schema.names and not pa.types.is_string(schema.field("image").type):
        identity = column(schema.names, IDS)
        numbered = identity is not None and pa.types.is_integer(schema.field(identity).type)
        return Source("parquet", _row_groups(place, found, base), numbered)
    path = column(schema.names, (*PATHS, "image"))
    if path is None:
        expected = f"a column {', '.join(PATHS)} or image"
        raise ValueError(f"{found[0]}: expected {expected}, got {', '.join(schema.names)}")
    return Source("files", _rows(place, found, root, path, schema.names))


def column(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """Return the first of the wanted columns that there is."""
    return next((name for name in wanted if name in names), None)


def _row_groups(place: Place, found: list[str], base: str) -> Iterator[Item]:
    import pyarrow.parquet as pq

    for file in found:
        with place.files.open(file, "rb") as opened:
            number = pq.ParquetFile(opened).num_row_groups
        for group in range(number):
            yield Item(f"{_below(file, base)}#{group}", f"{place.address(file)}#{group}")


def _rows(
    place: Place, found: list[str], root: str | None, path: str, names: list[str]
) -> Iterator[Item]:
    import pyarrow.parquet as pq

    identity, label = column(names, IDS) or path, column(names, LABELS)
    columns = list(dict.fromkeys(name for name in (identity, path, label) if name))
    for file in found:
        with place.files.open(file, "rb") as opened:
            for batch in pq.ParquetFile(opened).iter_batches(1024, columns=columns):
                values = batch.to_pydict()
                for row in range(batch.num_rows):
                    named = texts(values[label][row]) if label else None
                    where = _joined(place, file, root, values[path][row])
                    yield Item(values[identity][row], where, named)
