"""The parts of the results: one Parquet file each, written when all its rows are there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from wsolrefine.scale.store import Store

LABELS = "labels"
"""Folder of the parts; it holds nothing else, so that any reader of Parquet takes it whole."""

_IMAGES, _ERRORS = b"wsolrefine.images", b"wsolrefine.errors"


class BatchRows(NamedTuple):
    """The rows of one batch.

    Attributes:
        part: number of the part that they belong to.
        number: number of the batch in the part.
        batches: how many batches the part has; None: another batch of it says so.
        images: how many images the rows are of.
        errors: how many of these have an error.
        table: the rows.

    """

    part: int
    number: int
    batches: int | None
    images: int
    errors: int
    table: Any


class Part(NamedTuple):
    """What a part holds."""

    number: int
    images: int
    errors: int
    rows: int


def part_name(number: int) -> str:
    """Return the name of a part below the folder of the results.

    Example:
        >>> part_name(17)
        'labels/000017.parquet'

    """
    return f"{LABELS}/{number:06d}.parquet"


def done(store: Store) -> list[int]:
    """Return the numbers of the parts that are there, in order."""
    found = (re.fullmatch(r"([0-9]{6,})\.parquet", name) for name in store.names(LABELS))
    return sorted(int(name[1]) for name in found if name)


def write_part(store: Store, number: int, table: Any, images: int, errors: int) -> Part:
    """Write a part, all of it or nothing."""
    import pyarrow.parquet as pq

    known = {_IMAGES: str(images), _ERRORS: str(errors)}
    with store.writing(part_name(number)) as file:
        pq.write_table(table.replace_schema_metadata(known), file, compression="zstd")
    return Part(number, images, errors, table.num_rows)


def read_part(store: Store, number: int) -> tuple[Part, Any]:
    """Return what a part holds, and its rows.

    Raises:
        ValueError: this command has not written it.

    """
    import pyarrow.parquet as pq

    with store.open(part_name(number)) as file:
        table = pq.ParquetFile(file).read()
    return _part(store, number, table.schema.metadata, table.num_rows), table


def describe_part(store: Store, number: int) -> Part:
    """Return what a part holds, of which only the end is read.

    Raises:
        ValueError: this command has not written it.

    """
    import pyarrow.parquet as pq

    with store.open(part_name(number)) as file:
        opened = pq.ParquetFile(file)
        return _part(store, number, opened.schema_arrow.metadata, opened.metadata.num_rows)


def _part(store: Store, number: int, known: dict[bytes, bytes] | None, rows: int) -> Part:
    try:
        counts = known or {}
        return Part(number, int(counts[_IMAGES]), int(counts[_ERRORS]), rows)
    except (KeyError, ValueError):
        where = store.path(part_name(number))
        raise ValueError(
            f"{where}: expected rows of wsolrefine, got another Parquet file"
        ) from None


def write_parts(store: Store, found: Iterable[BatchRows]) -> Iterator[Part]:
    """Write each part when the last of its batches has come, and yield what it holds.

    Batches come in any order, and one may come again if the worker that made it was lost.

    Raises:
        RuntimeError: batches are missing at the end.

    """
    import pyarrow as pa

    waiting: dict[int, dict[int, BatchRows]] = {}
    whole: dict[int, int] = {}
    written: set[int] = set()
    for rows in found:
        if rows.part in written:
            continue
        batches = waiting.setdefault(rows.part, {})
        batches[rows.number] = rows
        if rows.batches is not None:
            whole[rows.part] = rows.batches
        if len(batches) != whole.get(rows.part):
            continue
        several = [batches[number] for number in sorted(batches)]
        table = pa.concat_tables(one.table for one in several).combine_chunks()
        images, errors = sum(one.images for one in several), sum(one.errors for one in several)
        yield write_part(store, rows.part, table, images, errors)
        written.add(rows.part)
        del waiting[rows.part]
    if waiting:
        missing = ", ".join(map(str, sorted(waiting)))
        raise RuntimeError(f"expected all batches of parts {missing}, got some of them")
