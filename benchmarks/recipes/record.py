"""The record of a table: parts that are done are kept, and one that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ORIGIN, write_json
from benchmarks.recipes.measured import Row


class Record:
    """The parts of a table in a JSON file.

    All rows of a record are measured on the same images in the same way. If ``head`` (command,
    machine, options, images) differs from that of the file, its parts are dropped; if options of
    one part differ, that part is.

    Args:
        path: the file.
        head: what all parts have in common.
        origin: version, commit and date of this run.
        order: the parts in the order of the table.
        own: the options that belong to one part, by part.

    """

    def __init__(
        self,
        path: Path,
        head: Mapping[str, Any],
        origin: Mapping[str, str | None],
        order: Sequence[str],
        own: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.path, self.head, self.origin, self.order = path, dict(head), origin, order
        self.own = own
        earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
        parts = earlier.pop("parts", {})
        self.parts: dict[str, dict[str, Any]] = parts if earlier == self.head else {}

    def seeds_of(self, part: str, seeds: int) -> int:
        """Return how many seeds of a part are done.

        A part that is not done and has another version or commit is measured anew: its seeds would
        not be comparable.
        """
        found = self.parts.get(part, {"seeds": 0})
        if found.get("options", {}) != self.own.get(part, {}):
            return 0
        same = all(found.get(key) == self.origin[key] for key in ORIGIN if key != "date")
        return min(found["seeds"], seeds) if same or found["seeds"] >= seeds else 0

    def add(self, part: str, seed: int, rows: Sequence[Row], seconds: float) -> None:
        """Add the rows of a seed to a part, or begin the part with seed 0; write the file."""
        begun: dict[str, Any] = {"seconds": 0, "rows": {}}
        earlier = self.parts[part] if seed else begun
        found = {name: [*earlier["rows"].get(name, []), row] for name, row in rows}
        seconds = round(earlier["seconds"] + seconds)
        done = {"seeds": seed + 1, "seconds": seconds, "rows": found}
        options = {"options": self.own[part]} if part in self.own else {}
        self.parts[part] = {**self.origin, **options, **done}
        write_json(self.path, self.record)

    @property
    def record(self) -> dict[str, Any]:
        """What the file holds."""
        parts = {name: self.parts[name] for name in self.order if name in self.parts}
        return {**self.head, "parts": parts}
