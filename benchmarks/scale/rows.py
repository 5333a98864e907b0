"""The rows of two folders of labels, compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

Key = tuple[Any, Any]
Rows = list[tuple[Key, bytes]]


def read_rows(out: Path) -> Rows:
    """Return id and label of each row, and a hash of all that it holds."""
    import pyarrow.parquet as pq

    found = []
    for file in sorted(out.glob("labels/*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(1024):
            found += [(_key(row), _hashed(row)) for row in batch.to_pylist()]
    return found


def compared(
    whole: Sequence[tuple[Key, bytes]], other: Sequence[tuple[Key, bytes]]
) -> dict[str, int]:
    """Return how many rows are missing, there twice, not of the first, or with other values.

    Example:
        >>> whole = [(("a", 1), b"x"), (("b", 1), b"y")]
        >>> compared(whole, [(("a", 1), b"z"), (("a", 1), b"z")])
        {'lost': 1, 'twice': 1, 'more': 0, 'different': 1}

    """
    expected, found = dict(whole), dict(other)
    counts = Counter(key for key, _ in other)
    return {
        "lost": len(expected.keys() - found.keys()),
        "twice": sum(count - 1 for count in counts.values()),
        "more": len(found.keys() - expected.keys()),
        "different": sum(expected[key] != found[key] for key in expected.keys() & found.keys()),
    }


def _key(row: Mapping[str, Any]) -> Key:
    return row["id"], row["label"]


def _hashed(row: Mapping[str, Any]) -> bytes:
    return sha256(repr(sorted(row.items())).encode("utf-8", "surrogateescape")).digest()
