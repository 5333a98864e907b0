"""The plan of a run: which images are in which part, written once and then only read."""

from __future__ import annotations

import itertools
import math
import os
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from wsolrefine._shards import Shard, hash_of
from wsolrefine.scale.items import Item, Task
from wsolrefine.scale.sources import Source
from wsolrefine.scale.store import Store

PLAN = "plan.parquet"
TASKS, TASKS_OF_WORKER, LEAST_BATCHES = 256, 16, 8
"""Ray keeps some 40 KB of each task until the end of a run, so many images make larger tasks, not
more of them; but each worker has several, so that all end at about the same time."""
MOST_LABELS = 1_000_000
"""More different labels than any classifier has classes: a mistaken column."""


def batches_in_task(images: int, batch: int, workers: int) -> int:
    """Return how many batches a worker is given at once.

    Args:
        images: all that are to be done.
        batch: images in a batch.
        workers: how many there are.

    Example:
        >>> batches_in_task(1_000, batch=8, workers=2), batches_in_task(100_000, batch=8, workers=2)
        (8, 49)

    """
    tasks = max(TASKS, TASKS_OF_WORKER * workers)
    return max(LEAST_BATCHES, math.ceil(images / (tasks * batch)))


class Facts(NamedTuple):
    """What the plan says in numbers.

    Attributes:
        kind: ``files``; or ``tar``, ``parquet``: what holds the images.
        parts: number of parts.
        items: number of images, or of what holds them.
        numbered: whether ids are integers.
        labels: every label that the source names, in all shards, in order; None: it names none.

    """

    kind: str
    parts: int
    items: int
    numbered: bool
    labels: list[str] | None


def write_plan(store: Store, source: Source, size: int, shard: Shard | None = None) -> Facts:
    """Divide the images of a source into parts, and write them down.

    The list is never in memory as a whole: 8 bytes an image are, to see ids that come twice.

    Args:
        store: where the plan is written to.
        source: the images.
        size: images in a part; what holds images is a part by itself.
        shard: the share of these images to take; None: all.

    Raises:
        ValueError: an id is there twice, ids are of different kinds, or there is no image. A share
            may be empty.

    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    items = (item._replace(id=_stored(item.id)) for item in source.items)
    first = next(items, None)
    if first is None:
        raise ValueError("SOURCE: expected images, got none")
    whole = isinstance(first.id, int)
    seen, labels, parts = array("Q"), _Labels(), 0
    rows = pa.schema(
        {
            "id": pa.int64() if whole else pa.string(),
            "path": pa.binary(),
            "labels": pa.list_(pa.string()),
            "categories": pa.list_(pa.int64()),
        }
    )
    mine = labels.seen_of(itertools.chain([first], items))
    if shard is not None:
        mine = (item for item in mine if shard.has(item.id))
    with store.writing(PLAN) as file, pq.ParquetWriter(file, rows, compression="zstd") as writer:
        while part := list(itertools.islice(mine, size if source.kind == "files" else 1)):
            parts += 1
            for item in part:
                if isinstance(item.id, int) != whole:
                    got = f"{first.id!r} and {item.id!r}"
                    raise ValueError(f"SOURCE: expected ids of one kind, got {got}")
                seen.append(hash_of(item.id))
            lines = [item._asdict() | {"path": os.fsencode(item.path)} for item in part]
            writer.write_table(pa.Table.from_pylist(lines, rows), row_group_size=size)
    try:
        _check_ids(store, seen)
    except ValueError:
        store.remove(PLAN)
        raise
    numbered = whole if source.numbered is None else source.numbered
    return Facts(source.kind, parts, len(seen), numbered, labels.sorted)


class _Labels:
    """The labels of a source. Shards have those of all of it, so that they map the same classes."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._named = False

    def seen_of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield images, and see their labels.

        Raises:
            ValueError: there are too many.

        """
        for item in items:
            if item.labels is not None:
                self._named = True
                self._found.update(item.labels)
                if (got := len(self._found)) > MOST_LABELS:
                    raise ValueError(f"SOURCE: expected labels of classes, got {got:,} labels")
            yield item

    @property
    def sorted(self) -> list[str] | None:
        """All labels in order; None: no image names any."""
        return sorted(self._found) if self._named else None


def _stored(identity: Any) -> str | int:
    """Return an id as Parquet can hold it: a file name may have bytes that are not UTF-8.

    Raises:
        ValueError: it is neither text nor an integer of 64 bits.

    """
    if isinstance(identity, str):
        return identity.encode("utf-8", "backslashreplace").decode()
    whole = isinstance(identity, int) and not isinstance(identity, bool)
    if whole and -(2**63) <= identity < 2**63:
        return int(identity)
    expected = "ids that are text or integers of 64 bits"
    raise ValueError(f"SOURCE: expected {expected}, got {identity!r:.80}")


def _check_ids(store: Store, seen: array[int]) -> None:
    """Raise if an id is there twice. Different ids may have one hash, so it is looked up."""
    hashes, counts = np.unique(np.frombuffer(seen, np.uint64), return_counts=True)
    again = set(hashes[counts > 1].tolist())
    if not again:
        return
    found: set[Any] = set()
    with Plan(store) as plan:
        for item in itertools.chain.from_iterable(plan):
            if item.id in found:
                raise ValueError(f"SOURCE: expected ids of their own, got {item.id!r} twice")
            if hash_of(item.id) in again:
                found.add(item.id)


class Plan:
    """The parts of a run, each a list of images; one is in memory at a time. It is a context."""

    def __init__(self, store: Store) -> None:
        import pyarrow.parquet as pq

        self._opened = store.open(PLAN)
        self._file = pq.ParquetFile(self._opened)

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __len__(self) -> int:
        return int(self._file.num_row_groups)

    def __iter__(self) -> Iterator[list[Item]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, part: int) -> list[Item]:
        if not 0 <= part < len(self):
            raise IndexError(part)
        rows = self._file.read_row_group(part).to_pylist()
        return [
            Item(
                row["id"],
                os.fsdecode(row["path"]),
                None if row["labels"] is None else tuple(row["labels"]),
                None if row["categories"] is None else tuple(row["categories"]),
            )
            for row in rows
        ]

    def tasks(self, parts: Iterable[int], kind: str, batch: int, batches: int) -> Iterator[Task]:
        """Yield what workers do for some parts.

        Args:
            parts: their numbers.
            kind: see :class:`Facts`.
            batch: images in a batch.
            batches: batches in a task, at most.

        """
        for part in parts:
            items = self[part]
            if kind != "files":
                yield Task(part, 0, None, items)
                continue
            whole = -(-len(items) // batch)
            for first in range(0, whole, batches):
                some = items[first * batch : (first + batches) * batch]
                yield Task(part, first, whole, some)
