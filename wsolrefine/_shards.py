"""One share of a data set for each of several processes, by a hash of the id of each image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class Shard:
    """Share ``index`` of ``count``, counted from 0 as the ranks of torchrun and Slurm are."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, identity: str | int) -> bool:
        """Tell whether an image is in this share; each is in exactly one of ``count``.

        Example:
            >>> [[Shard(i, 3).has(name) for i in range(3)].count(True) for name in "abc"]
            [1, 1, 1]

        """
        return hash_of(identity) % self.count == self.index


def hash_of(identity: str | int) -> int:
    """Return 64 bits that depend on an id alone, not on the process or the machine."""
    text = str(identity).encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8).digest())


def parse_shard(text: str) -> Shard:
    """Return the shard of ``i/n``.

    Raises:
        ValueError: it is something else.

    Example:
        >>> parse_shard("3/8")
        Shard(index=3, count=8)

    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if not found or int(found[1]) >= int(found[2]):
        expected = "i/n, with i from 0 to n - 1, such as 0/8"
        raise ValueError(f"shard: expected {expected}, got {text!r:.40}")
    return Shard(int(found[1]), int(found[2]))
