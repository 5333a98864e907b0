"""From the SOURCE of a run to its images: folders, globs, lists, COCO, Parquet, tar, anywhere."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from glob import has_magic
from typing import NamedTuple

from wsolrefine.scale.folders import below, images_of
from wsolrefine.scale.items import Item
from wsolrefine.scale.lists import IDS, PATHS, coco_images, column, lines_of, row_groups, rows_of
from wsolrefine.scale.places import Place, absolute

KINDS = {
    ".parquet": "parquet",
    ".json": "coco",
    ".txt": "list",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
}
"""What a file is by the end of its name; any other is an image."""


class Source(NamedTuple):
    """Images of one kind: ``files``, each of its own, or containers, ``tar`` or ``parquet``."""

    kind: str
    items: Iterator[Item]
    numbered: bool | None = None
    """Whether ids are integers; None: as the first one is."""


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
        tars = (Item(below(path, above), place.address(path)) for path in found)
        return Source("tar", tars, False)
    if kind == "parquet":
        return _parquet(place, found, above, root)
    if kind in ("coco", "list"):
        if len(found) > 1:
            raise ValueError(f"SOURCE: expected one {kind} file, got {len(found)}")
        listed = coco_images if kind == "coco" else lines_of
        return Source("files", listed(place, found[0], root))
    return Source("files", images_of(place, found, above))


def _kind(path: str) -> str:
    name = posixpath.basename(path).lower()
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), "image")


def _parquet(place: Place, found: list[str], base: str, root: str | None) -> Source:
    """Return the images of Parquet files; the first says whether they hold or name them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with place.files.open(found[0], "rb") as opened:
        schema = pq.read_schema(opened)
    if "image" in schema.names and not pa.types.is_string(schema.field("image").type):
        identity = column(schema.names, IDS)
        numbered = identity is not None and pa.types.is_integer(schema.field(identity).type)
        return Source("parquet", row_groups(place, found, base), numbered)
    path = column(schema.names, (*PATHS, "image"))
    if path is None:
        expected = f"a column {', '.join(PATHS)} or image"
        raise ValueError(f"{found[0]}: expected {expected}, got {', '.join(schema.names)}")
    return Source("files", rows_of(place, found, root, path))
