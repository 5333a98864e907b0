"""Images inside of other files: samples of a tar (webdataset), rows of a Parquet file."""

from __future__ import annotations

import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from wsolrefine.data.images import SUFFIXES
from wsolrefine.scale.items import Item, texts
from wsolrefine.scale.lists import IDS, LABELS, column
from wsolrefine.scale.places import Place


class Content(NamedTuple):
    """An image inside of a file: its bytes, or why there are none."""

    item: Item
    content: bytes
    error: str | None = None


def read_tar(container: Item) -> Iterator[Content]:
    """Yield the images of a tar, one for each sample, with the class that its ``.cls`` has.

    Files beside each other whose names are the same up to the first dot are a sample, as in
    webdataset. A damaged archive yields what is before the damage, and a row with the error.
    """
    place, seen = Place.of(container.path), dict[str, int]()
    image: tuple[str, bytes] | None = None
    named: tuple[str, ...] | None = None
    key: str | None = None

    def sample() -> Iterator[Content]:
        if image is not None and key is not None:
            seen[key] = number = seen.get(key, 0) + 1  # a key may come again, as another sample
            identity = f"{container.id}/{key}" if number == 1 else f"{container.id}/{key}#{number}"
            address = f"tar://{image[0]}::{container.path}"
            yield Content(Item(identity, address, named), image[1])

    try:
        with (
            place.files.open(place.path, "rb") as file,
            tarfile.open(fileobj=file, mode="r|*") as tar,
        ):
            for member in tar:
                if not member.isfile():
                    continue
                folder, name = posixpath.split(member.name)
                stem, _, suffix = name.partition(".")
                if posixpath.join(folder, stem) != key:
                    yield from sample()
                    image, named, key = None, None, posixpath.join(folder, stem)
                if image is None and f".{suffix.lower()}" in SUFFIXES:
                    image = member.name, _content(tar, member)
                elif suffix == "cls":
                    text = _content(tar, member).decode("utf-8", "replace").strip()
                    named = texts(f"index:{text}" if text.isdecimal() else text)
            yield from sample()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        yield from sample()
        reason = f"expected a tar, got a damaged one ({error or type(error).__name__})"
        yield Content(container, b"", reason)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def read_row_group(container: Item) -> Iterator[Content]:
    """Yield the images of a row group, whose column ``image`` has the bytes of files.

    The column is binary, or as Hugging Face has it, ``{bytes, path}``.

    Raises:
        ValueError: a row has no id.

    """
    import pyarrow.parquet as pq

    address, _, group = container.path.rpartition("#")
    name = str(container.id).rpartition("#")[0]
    place = Place.of(address)
    with place.files.open(place.path, "rb") as opened:
        file = pq.ParquetFile(opened)
        number = sum(file.metadata.row_group(i).num_rows for i in range(int(group)))
        names = file.schema_arrow.names
        identity, label = column(names, IDS), column(names, LABELS)
        columns = [name for name in ("image", identity, label) if name]
        for batch in file.iter_batches(16, row_groups=[int(group)], columns=columns):
            for row in batch.to_pylist():
                image = row["image"]
                content = image.get("bytes") if isinstance(image, dict) else image
                own = f"{name}#{number}" if identity is None else row[identity]
                if own is None:
                    raise ValueError(f"{address}: expected an id, got none in row {number}")
                item = Item(own, f"{address}#{number}", texts(row[label]) if label else None)
                error = "expected the bytes of an image, got none" if content is None else None
                yield Content(item, content or b"", error)
                number += 1
