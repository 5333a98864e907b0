"""What became of the rows of killed runs, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import MACHINE, ORIGIN, in_words, table

DIFFERENCES = {
    "lost": "rows lost",
    "twice": "rows there twice",
    "more": "rows of no image",
    "different": "rows with other values",
}


def render(record: Mapping[str, Any]) -> str:
    """Return a record as Markdown."""
    lines = []
    for killed in ("driver", "worker"):
        kills = [kill for kill in record["kills"] if kill["killed"] == killed]
        moments = [kill["after"] for kill in kills] or [0.0]
        left = str(sum(kill["left"] for kill in kills)) if killed == "driver" else ""
        lines.append([killed, str(len(kills)), f"{min(moments):.1f} to {max(moments):.1f} s", left])
    counts = [[what, str(record["differences"][key])] for key, what in DIFFERENCES.items()]
    about = (
        f"`{record['command']}`: {record['images']:,} images, which are {record['files']:,} "
        f"repeated, {record['rows']:,} rows; undisturbed, {record['undisturbed']:.0f} s. "
        f"{record['folders']} runs were killed, some several times, and each went on to its end. "
        f"{in_words(record, MACHINE)}."
    )
    minutes = f"{record['seconds'] / 60:.0f} minutes"
    parts = [
        table(["killed", "times", "after", "processes left"], lines),
        table(["all rows of all killed runs, next to those of the undisturbed run", ""], counts),
        f"{about} wsolrefine {in_words(record, ORIGIN)}, {minutes}.",
    ]
    return "\n\n".join(parts) + "\n"
