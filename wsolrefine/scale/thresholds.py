"""Masks and boxes at another threshold, from the maps that are stored: no model is needed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any

from wsolrefine.localization.masks import Parts
from wsolrefine.scale.parts import Part, read_part, write_part
from wsolrefine.scale.rows import mask_columns, mask_of, schema, stored_map
from wsolrefine.scale.store import Store


def at_threshold(row: dict[str, Any], threshold: float, parts: Parts) -> dict[str, Any]:
    """Return a row with mask, box and area at another threshold.

    Args:
        row: of :func:`wsolrefine.scale.rows.schema`, with its map.
        threshold: value in [0, 1) above which a pixel belongs to the object.
        parts: what one object is, ``largest`` or ``all``.

    """
    if row["map"] is None:
        return row
    size = row["height"], row["width"]
    return row | mask_columns(mask_of(stored_map(row), size, threshold, parts))


def convert_part(source: str, target: str, number: int, threshold: float, parts: Parts) -> Part:
    """Write one part at another threshold; return what it holds."""
    import pyarrow as pa

    known, table = read_part(Store(source), number)
    columns = schema(pa.types.is_integer(table.schema.field("id").type), maps=True)
    rows = [
        at_threshold(row, threshold, parts)
        for batch in table.to_batches(1024)
        for row in batch.to_pylist()
    ]
    found = pa.Table.from_pylist(rows, columns)
    return write_part(Store(target), number, found, known.images, known.errors)


def convert(
    source: Store,
    target: Store,
    numbers: Iterable[int],
    threshold: float,
    parts: Parts,
    workers: int,
) -> Iterator[Part]:
    """Write parts at another threshold in several processes; yield each when it is there."""
    places = source.address, target.address
    if workers == 1:
        yield from (convert_part(*places, number, threshold, parts) for number in numbers)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        waiting = [pool.submit(convert_part, *places, n, threshold, parts) for n in numbers]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin() -> None:
    """Let a process of the pool end with the one that started it, and only by its order."""
    import torch

    torch.set_num_threads(1)  # the other cores have parts of their own
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes at once
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()  # killed, it cannot stop the pool, which would wait for work for ever
    os._exit(1)
