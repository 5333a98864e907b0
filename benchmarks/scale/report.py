"""Results of labelling as JSON and Markdown: rates, memory, start, and the cost from these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common import MACHINE, ORIGIN, in_words, table
from benchmarks.scale.cost import cost_table


def render(record: Mapping[str, Any]) -> str:
    """Return a record as Markdown."""
    start = record["start"]
    parts = [
        _rates(record["rates"]),
        "Milliseconds an image, on one core but for `refine`, which reads and writes in threads on "
        "all of them. Two processes: how many times as fast as one.",
        f"Ray starts in {start['Ray']:.1f} s, and its first row comes {start['first row']:.1f} s "
        "later; the table is without that.",
        _memory(record["memory"]),
        "The most memory of its own that the command had, by the number of rows.",
        cost_table(record),
        _about(record),
    ]
    return "\n\n".join(parts) + "\n"


def _rates(rates: list[Mapping[str, Any]]) -> str:
    head = ["photographs", "decode and model", "`label`", "ratio", "two processes"]
    head += ["`refine`, all pictures", "ratio"]
    lines = []
    for rate in rates:
        times = {name: f"{value:.1f}" for name, value in rate["milliseconds"].items()}
        lines.append(
            [
                rate["images"],
                times["floor"],
                times["label"],
                f"{rate['label / floor']:.2f}",
                f"{rate['label / two']:.2f}",
                times["refine"],
                f"{rate['refine / floor']:.2f}",
            ]
        )
    return table(head, lines)


def _memory(memory: list[Mapping[str, Any]]) -> str:
    lines = [[f"{one['rows']:,}", f"{one['megabytes']:.0f}"] for one in memory]
    return table(["rows", "MB"], lines)


def _about(record: Mapping[str, Any]) -> str:
    about = f"`{record['command']}`: medians of {record['runs']} runs of {record['images']} images,"
    about += f" method {record['rates'][0]['method']}. {in_words(record, MACHINE)}."
    minutes = f"{record['seconds'] / 60:.0f} minutes"
    return f"{about} wsolrefine {in_words(record, ORIGIN)}, {minutes}."
