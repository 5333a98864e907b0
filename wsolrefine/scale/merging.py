"""The labels of several shards in one folder."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wsolrefine._shards import hash_of, parse_shard
from wsolrefine.scale.parts import Part, describe_part, done, part_name
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.record import Record, differences, missing
from wsolrefine.scale.store import Store


class Shards(NamedTuple):
    """The shards of one run, in order, and what they are together."""

    stores: list[Store]
    record: Record


def check_shards(stores: Sequence[Store], records: Sequence[Record]) -> Shards:
    """Return the shards of one run in their order.

    Raises:
        ValueError: one is no shard, is not finished or is of another run, or one is missing.

    """
    found: dict[int, tuple[Store, Record]] = {}
    first = records[0]
    for store, record in zip(stores, records, strict=True):
        where = store.path()
        shard = record.settings.get("shard")
        if shard is None:
            raise ValueError(f"{where}: expected labels of a shard, got those of a whole source")
        if (left := len(missing(store, record))) > 0:
            raise ValueError(f"{where}: expected all {record.facts.parts} parts, got {left} less")
        if changes := differences(_common(first), _common(record)):
            raise ValueError(
                f"{where}: expected the run of {stores[0].path()}, got another: {changes}"
            )
        index = parse_shard(shard).index
        if index in found:
            raise ValueError(f"{where}: expected shards of their own, got {shard} twice")
        found[index] = store, record
    count = parse_shard(first.settings["shard"]).count
    if lost := sorted(set(range(count)) - found.keys()):
        raise ValueError(f"expected {count} shards, got none of {', '.join(map(str, lost))}")
    ordered = [found[index] for index in range(count)]
    labels = [record.facts.labels for _, record in ordered]
    facts = Facts(
        first.facts.kind,
        sum(record.facts.parts for _, record in ordered),
        sum(record.facts.items for _, record in ordered),
        first.facts.numbered,
        sorted({label for some in labels for label in some or ()}) if any(labels) else None,
    )
    settings = first.settings | {"shard": None}
    whole = Record(settings, first.model, facts, first.version)
    return Shards([store for store, _ in ordered], whole)


def _common(record: Record) -> dict[str, Any]:
    """Return what all shards of a run have in common."""
    count = parse_shard(record.settings["shard"]).count
    return record.settings | {"shard": f"of {count}", "model hash": record.model}


def check_ids(stores: Sequence[Store]) -> None:
    """Raise if an image is in two shards, as when a source has changed between their runs.

    Raises:
        ValueError: an id is there twice.

    """
    import pyarrow.parquet as pq

    seen = array("Q")
    for store in stores:
        for number in done(store):
            with store.open(part_name(number)) as file:
                ids = pq.ParquetFile(file).read(columns=["id"]).column("id").to_pylist()
            seen.extend(hash_of(identity) for identity in dict.fromkeys(ids))
    counts = np.unique(np.frombuffer(seen, np.uint64), return_counts=True)[1]
    if twice := int((counts > 1).sum()):
        raise ValueError(f"expected each image in one part, got {twice} of them in several")


def copy_parts(shards: Shards, target: Store) -> Iterator[Part]:
    """Copy the parts that are not there yet, numbered one after the other; yield each."""
    there, start = set(done(target)), 0
    for store in shards.stores:
        numbers = done(store)
        for number in numbers:
            place = start + number
            if place not in there:
                target.write(part_name(place), store.read(part_name(number)))
            yield describe_part(target, place)
        start += len(numbers)
