"""The file that says what a folder of labels is: settings, model, source, number of parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from wsolrefine.scale.parts import LABELS, describe_part, done
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.store import Store

RECORD = "label.json"
FORMAT = 1
READERS = 16
"""Threads that read the ends of parts: at an address each takes a while."""


class Record(NamedTuple):
    """What a folder of labels is.

    Attributes:
        settings: what determines the rows; a run that goes on must have the same.
        model: hash of the weights, the names of classes and the preprocessing.
        facts: what the plan says; of labels that are merged, what their plans say together.
        version: of wsolrefine.

    """

    settings: dict[str, Any]
    model: str
    facts: Facts
    version: str


class Totals(NamedTuple):
    """What the parts of a folder hold together."""

    parts: int
    images: int
    errors: int
    rows: int


def write_record(store: Store, record: Record) -> None:
    """Write what a folder of labels is."""
    content = {
        "format": FORMAT,
        "version": record.version,
        "settings": record.settings,
        "model": record.model,
        "source": record.facts._asdict(),
    }
    store.write(RECORD, json.dumps(content, indent=1, allow_nan=False).encode("ascii"))


def read_record(store: Store) -> Record | None:
    """Return what a folder of labels is; None if there are none.

    Raises:
        OSError: it cannot be read.
        ValueError: the file is damaged, or this command has not written it.

    """
    where = store.path(RECORD)
    try:
        content = store.read_json(RECORD)
    except FileNotFoundError:
        if done(store):
            raise ValueError(
                f"{store.path()}: expected {RECORD} beside {LABELS}, got none"
            ) from None
        return None
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"{where}: expected format {FORMAT}, got {content['format']!r:.40}")
        facts = Facts(**content["source"])
        record = Record(content["settings"], content["model"], facts, content["version"])
        right = isinstance(record.settings, dict) and isinstance(record.model, str)
        right &= all(isinstance(value, int) for value in (facts.parts, facts.items, facts.numbered))
    except (KeyError, TypeError):
        right = False
    if not right:
        raise ValueError(f"{where}: expected a file of wsolrefine label, got another one")
    return record


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return where settings differ, in words; "" if nowhere.

    Example:
        >>> differences({"parts": "all", "threshold": 0.4}, {"parts": "all", "threshold": 0.5})
        'threshold: 0.4 then, 0.5 now'

    """
    names = dict.fromkeys([*before, *now])
    return "; ".join(
        f"{name}: {before.get(name)} then, {now.get(name)} now"
        for name in names
        if before.get(name) != now.get(name)
    )


def missing(store: Store, record: Record) -> list[int]:
    """Return the numbers of the parts that are not there yet."""
    there = set(done(store))
    return [number for number in range(record.facts.parts) if number not in there]


def totals(store: Store) -> Totals:
    """Return what is in a folder; of each part only the end is read, of many at once.

    Raises:
        ValueError: this command has not written one of its parts.

    """
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(partial(describe_part, store), done(store)))
    return Totals(
        len(parts),
        sum(part.images for part in parts),
        sum(part.errors for part in parts),
        sum(part.rows for part in parts),
    )
