"""Times as Markdown: a table for each part of a run, and the calls on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import MACHINE, ORIGIN, in_words, table

Row = Mapping[str, Any]

TITLES = {
    "scg": "`scg` next to the bare matrix products",
    "label_spreading": "`label_spreading` next to its bare arithmetic",
    "pamr": "`pamr` next to its bare arithmetic, and to copies of all neighbors",
    "conv_crf": "`conv_crf` next to copies of all windows",
    "gppl": "`gppl` next to `gppl_released`",
    "class_activation": "`class_activation` next to a forward pass",
    "functions": "Every function",
    "evaluate": "Counting boxes over 1000 thresholds next to the plain loop",
    "gpu": "Calls, replays of a CUDA graph, compiled calls",
}
WAYS = ("call", "replayed", "compiled")


def render(record: Mapping[str, Any]) -> str:
    """Return a record as Markdown."""
    results = record["results"]
    parts = []
    for name in (name for name in TITLES if results.get(name)):
        rows = results[name]
        lines = _gpu(rows) if name == "gpu" else _plain(rows)
        parts += [f"**{TITLES[name]}**", lines]
    minutes = f"{record['seconds'] / 60:.0f} minutes"
    about = f"`{record['command']}`. {in_words(record, MACHINE)}, threads {record['threads']}."
    return (
        "\n\n".join([*parts, f"{about} wsolrefine {in_words(record, ORIGIN)}, {minutes}."]) + "\n"
    )


def _plain(rows: Sequence[Row]) -> str:
    """Return rows with a column for each number that any of them has."""
    flat = [_flat(row) for row in rows]
    head = list(dict.fromkeys(name for row in flat for name in row))
    return table(head, [[row.get(name, "") for name in head] for row in flat])


def _flat(row: Row) -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in row.items():
        if name == "runs":
            continue
        shown = name.replace("milliseconds", "ms")
        if isinstance(value, Mapping):  # times by call, or ratios such as "loop / fast"
            slow, divided, _ = name.partition(" / ")
            cells |= {
                f"{slow} / {key}" if divided else f"{key}, {shown}": _number(one)
                for key, one in value.items()
            }
        elif isinstance(value, list):
            cells[name] = " x ".join(map(str, value))
        else:
            cells[shown] = _number(value)
    return cells


def _gpu(rows: Sequence[Row]) -> str:
    head = ["function", "shape", "precision", "next to"]
    head += [title for way in WAYS for title in (f"{way}, ms", "ratio")]
    lines = []
    for row in rows:
        shape = " x ".join(map(str, row["shape"]))
        beside = [row[way]["next to"] for way in WAYS if way in row]
        line = [f"`{row['function']}`", shape, row["precision"], ", ".join(dict.fromkeys(beside))]
        for way in WAYS:
            found = row.get(way)
            line += ["", ""] if found is None else [_number(found["milliseconds"]), _ratio(found)]
        lines.append(line)
    return table(head, lines)


def _ratio(found: Row) -> str:
    return f"{found['ratio']:.2f}"


def _number(value: object) -> str:
    """Return a number with three digits that count."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
