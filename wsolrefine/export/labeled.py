"""The results of ``wsolrefine label``: Parquet files, read one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from wsolrefine.data._lines import stays_below
from wsolrefine.export.records import Object, Record, RunLengths

COLUMNS = ("id", "path", "width", "height", "label", "class_name", "score", "box", "mask", "error")
MAP = ("map", "map_width", "map_height")


def labeled(folder: str) -> Iterator[Record]:
    """Yield a record for each image without error.

    Raises:
        OSError: a part cannot be read.
        ValueError: ``wsolrefine label`` has not written it.

    """
    from wsolrefine.scale.parts import done, read_part
    from wsolrefine.scale.store import Store

    store = Store(folder)
    for number in done(store):
        _, table = read_part(store, number)
        columns = [name for name in (*COLUMNS, *MAP) if name in table.column_names]
        rows = (
            row
            for batch in table.select(columns).to_batches(1024)
            for row in batch.to_pylist()
            if row["error"] is None
        )
        for identity, several in groupby(rows, lambda row: row["id"]):
            yield _record(identity, list(several))


def label_names(folder: str) -> dict[int, str]:
    """Return the names of the classes of all rows.

    Raises:
        ImportError: Ray or pyarrow is not installed.
        OSError: a part cannot be read.
        ValueError: parts are missing, or ``wsolrefine label`` has not written them.

    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            "labels: expected pyarrow to read them: pip install 'wsolrefine[scale]'"
        ) from error
    from wsolrefine.scale.parts import done, part_name
    from wsolrefine.scale.record import missing, read_record
    from wsolrefine.scale.store import Store

    store = Store(folder)
    record = read_record(store)
    if record is not None and (left := missing(store, record)):
        raise ValueError(
            f"folder: expected finished labels, got {folder} without {len(left)} of its parts"
        )
    names: dict[int, str] = {}
    for number in done(store):
        with store.open(part_name(number)) as file:
            table = pq.ParquetFile(file).read(columns=["label", "class_name"])
        pairs = table.group_by(["label", "class_name"]).aggregate([]).to_pylist()
        names |= {row["label"]: row["class_name"] for row in pairs if row["label"] is not None}
    return dict(sorted(names.items()))


def count(folder: str) -> int:
    """Return the number of images, with those that could not be read."""
    from wsolrefine.scale.record import totals
    from wsolrefine.scale.store import Store

    return totals(Store(folder)).images


def _record(identity: Any, rows: list[dict[str, Any]]) -> Record:
    first = rows[0]
    numbered = isinstance(identity, int)
    path = None if "://" in first["path"] or "#" in first["path"] else first["path"]
    name = str(identity)
    if numbered or not stays_below(name):  # of the source's own numbers and addresses
        name = first["path"].rpartition("/")[2] if path and not numbered else name
        name = name if stays_below(name) else "".join(c if c.isalnum() else "_" for c in name)
    return Record(
        name,
        first["width"],
        first["height"],
        [_object(row) for row in rows if row["label"] is not None],
        path,
        identity if numbered else None,
    )


def _object(row: dict[str, Any]) -> Object:
    size = row["height"], row["width"]
    known = Object(row["label"], row["class_name"], row["score"], map=_map(row))
    if row["mask"] is None:
        return known
    x0, y0, x1, y1 = row["box"]
    return known._replace(box=(x0, y0, x1, y1), mask=RunLengths(row["mask"], size))


def _map(row: dict[str, Any]) -> Any:
    from wsolrefine.scale.rows import stored_map

    return None if row.get("map") is None else stored_map(row).numpy()
