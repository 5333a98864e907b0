"""Results as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import MACHINE, ORIGIN, in_words, machine, table, write_record
from benchmarks.scenes import Scenes

COLUMNS = (
    *("MaxBoxAccV2", "gain in MaxBoxAccV2", "best MaxBoxAccV2", "box accuracy 0.5"),
    *("PxAP", "gain in PxAP", "Peak-IoU", "best Peak-IoU", "Peak-T"),
    *("precision", "recall", "F", "IoU of the mask", "forwards", "forwards in a batch"),
)
"""What tables show of their rows; the JSON has more."""

DETAILS = ("IoU 0.3", "IoU 0.5", "IoU 0.7")
"""What the second table shows besides sizes: the parts of MaxBoxAccV2."""


def splits_of(scenes: Mapping[str, Scenes]) -> dict[str, dict[str, int]]:
    """Return how many scenes each split has, and of how many photographs."""
    return {
        split: {
            "scenes": len(some),
            "cut-outs": len(some.stamps),
            "backgrounds": len(some.backgrounds),
        }
        for split, some in scenes.items()
    }


def record_of(
    command: str,
    rows: Sequence[Mapping[str, Any]],
    splits: Mapping[str, Mapping[str, int]],
    seed: int,
    *,
    seconds: float,
    begun: Mapping[str, str | None],
    **more: Any,
) -> dict[str, Any]:
    """Return the record of a run, with the ``origin`` that it began with."""
    return {
        "command": f"python -m benchmarks.{command}",
        "seed": seed,
        **begun,
        "seconds": round(seconds),
        **machine(),
        **more,
        "splits": splits,
        "rows": list(rows),
    }


def save(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Write NAME.json and NAME.md."""
    write_record(folder, name, record, render(record))


def render(record: Mapping[str, Any]) -> str:
    """Return a record as Markdown: the results in percent, and how they were measured."""
    tables = [_results(record["rows"])]
    if "sizes" in record:
        main = [row for row in record["rows"] if row["method"] in record["main"]]
        tables.append(_details(main, record["sizes"]))
    splits = "; ".join(
        f"{split}: " + ", ".join(f"{number} {of}" for of, number in size.items())
        for split, size in record["splits"].items()
    )
    about = [f"`{record['command']}`, seed {record['seed']}. {splits}."]
    about += [f"{text}." for text in record.get("about", ())]
    about.append(f"{in_words(record, MACHINE)}.")
    if "version" in record:  # records of the first development version have none
        minutes = f"{record['seconds'] / 60:.0f} minutes"
        about.append(f"wsolrefine {in_words(record, ORIGIN)}, {minutes}.")
    return "\n".join([*(f"{text}\n" for text in tables), *about, ""])


def _results(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = {key for row in rows for key in row}
    columns = [key for key in COLUMNS if key in keys]
    sources = [*rows[0].get("sources", ())]
    sources = sources if len(sources) > 1 else []  # of a single one it is that of all
    lines = [
        [
            row["method"],
            *(_shown(row, column) for column in columns),
            *(_percent(row["sources"][name], row["sources error"][name]) for name in sources),
        ]
        for row in rows
    ]
    return table(["method", *columns, *sources], lines)


def _details(rows: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> str:
    """Return MaxBoxAccV2 by size of the object, and the accuracies that it is the mean of."""
    head = [f"{name} ({number})" for name, number in sizes.items()]
    lines = [
        [
            row["method"],
            *(_percent(row["sizes"][name]) for name in sizes),
            *(_percent(row[name]) for name in DETAILS),
        ]
        for row in rows
    ]
    return table(["MaxBoxAccV2 by size of object", *head, *DETAILS], lines)


def _shown(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if column == "Peak-T":
        return str(value)
    if column.startswith("forwards"):
        return f"{value:.1f}"
    sign = "+" if column.startswith("gain") else ""
    error: float | None = row.get(f"{column} error")
    return _percent(value, error, sign)


def _percent(value: float | None, error: float | None = None, sign: str = "") -> str:
    if value is None:
        return ""
    rounded = round(100 * value, 1) + 0.0  # not -0.0
    return f"{rounded:{sign}.1f}" + ("" if error is None else f" ± {100 * error:.1f}")
