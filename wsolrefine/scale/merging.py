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


def check_shards(shards: Sequence[tuple[Store, Record]]) -> Shards:
    """Return the shards of one run in their order.

    Args:
        shards: folders of labels and what they are, in any order.

    Raises:
        ValueError: one is no shard, is not finished or is of another run, or one is missing.

    """
    found: dict[int, tuple[Store, Record]] = {}
    begin, first = shards[0]
    for store, record in shards:
        where = store.path()
        shard = record.settings.get("shard")
        if shard is None:
            raise ValueError(f"{where}: expected labels of a shard, got those of a whole source")
        if left := len(missing(store, record)):
            raise ValueError(f"{where}: expected all {record.facts.parts} parts, got {left} less")
        if changes := differences(_common(first), _common(record)):
            raise ValueError(f"{where}: expected the run of {begin.path()}, got another: {changes}")
        index = parse_shard(shard).index
        if index in found:
            raise ValueError(f"{where}: expected shards of their own, got {shard} twice")
        found[index] = store, record
    count = parse_shard(first.settings["shard"]).count
    if lost := sorted(set(range(count)) - found.keys()):
        raise ValueError(f"expected {count} shards, got none of {', '.join(map(str, lost))}")
    ordered = [found[index] for index in range(count)]
    facts = Facts(
        first.facts.kind,
        sum(record.facts.parts for _, record in ordered),
        sum(record.facts.items for _, record in ordered),
        first.facts.numbered,
        first.facts.labels,
    )
    settings = first.settings | {"shard": None}
    whole = Record(settings, first.model, facts, first.version)
    return Shards([store for store, _ in ordered], whole)


def _common(record: Record) -> dict[str, Any]:
    """Return what all shards of a run have in common."""
    count = parse_shard(record.settings["shard"]).count
    facts = record.facts
    return record.settings | {
        "shard": f"of {count}",
        "model hash": record.model,
        "kind of source": facts.kind,
        "integers as ids": facts.numbered,
        "labels of the source": None if facts.labels is None else len(facts.labels),
    }


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
    """Copy the parts that are not there yet, numbered one after the other; yield each.

    A part that is there is one of an earlier run only if it has the same size: a shard may have
    been labeled anew since.
    """
    there, start = set(done(target)), 0
    for store in shards.stores:
        numbers = done(store)
        for number in numbers:
            place, source = start + number, part_name(number)
            if place not in there or target.size(part_name(place)) != store.size(source):
                target.write(part_name(place), store.read(source))
            yield describe_part(target, place)
        start += len(numbers)
