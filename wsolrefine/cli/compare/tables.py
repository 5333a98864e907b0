"""The tables of a comparison: markdown, CSV, JSON, and the summary on the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wsolrefine.cli.console import output_console, printable

Records = Sequence[Mapping[str, Any]]

COLUMNS = ("image", "method", "class", "score", "box", "mask_share", "iou_with_cam", "agreement",
           "seconds")  # fmt: skip
TITLES = ("image", "method", "class", "score", "box (x0 y0 x1 y1)", "mask", "IoU with CAM",
          "agreement", "seconds")  # fmt: skip


def summary(records: Records) -> dict[str, dict[str, Any]]:
    """Return the means of each method; None where no image has a value.

    Example:
        >>> rows = [{"method": "cam", "mask_share": m, "iou_with_cam": None, "agreement": 0.5,
        ...          "seconds": 1.0, "box": None} for m in (0.25, 0.75)]
        >>> summary(rows)["cam"]["mask_share"], summary(rows)["cam"]["iou_with_cam"]
        (0.5, None)

    """
    found = {}
    for method in dict.fromkeys(record["method"] for record in records):
        rows = [record for record in records if record["method"] == method]
        means = ("mask_share", "iou_with_cam", "agreement", "seconds")
        found[method] = {name: _mean(row[name] for row in rows) for name in means}
        found[method]["without_box"] = sum(row["box"] is None for row in rows)
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def print_summary(records: Records) -> None:
    """Print the means of each method."""
    table = Table("method", title="Means of all images")
    for title in ("mask", "IoU with CAM", "agreement", "seconds", "without box"):
        table.add_column(title, justify="right")
    for method, means in summary(records).items():
        table.add_row(method, *_means(means))
    output_console().print(table)


def write_markdown(path: Path, records: Records) -> None:
    """Write the means of each method, and a row for each image and method."""
    titles = ("method", "mask", "IoU with CAM", "agreement", "seconds", "without box")
    lines = [*_head(titles, 1)]
    lines += [_line([method, *_means(means)]) for method, means in summary(records).items()]
    lines += ["", *_head(TITLES, 3)]
    lines += [_line([_text(record, column) for column in COLUMNS]) for record in records]
    lines += [
        "",
        "mask: share of the image. agreement: mean IoU with the boxes of the other methods.",
        "seconds: with the model, after a warm-up on the first image.",
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def write_csv(path: Path, records: Records) -> None:
    """Write a row for each image and method; a missing box has empty corners."""
    corners = ("x0", "y0", "x1", "y1")
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow([n for name in COLUMNS for n in (corners if name == "box" else [name])])
        for record in records:
            values: list[Any] = []
            for name in COLUMNS:
                values += (record["box"] or [None] * 4) if name == "box" else [record[name]]
            rows.writerow(values)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write all of it, with the means of each method."""
    whole = {"summary": summary(content["rows"]), **content}
    path.write_text(json.dumps(whole, indent=1, allow_nan=False), "utf-8")


def _means(means: Mapping[str, Any]) -> list[str]:
    return [
        _percent(means["mask_share"]),
        _iou(means["iou_with_cam"]),
        _iou(means["agreement"]),
        f"{means['seconds']:.3f}",
        str(means["without_box"]),
    ]


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if name in ("score", "mask_share"):
        return _percent(value)
    if name in ("iou_with_cam", "agreement"):
        return _iou(value)
    if name == "box":
        return "none" if value is None else " ".join(f"{corner:.0f}" for corner in value)
    return f"{value:.3f}" if name == "seconds" else printable(value).plain


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _iou(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _head(titles: Sequence[str], texts: int) -> list[str]:
    """Return the head of a table whose first columns are texts, and the others numbers."""
    kinds = ["---"] * texts + ["--:"] * (len(titles) - texts)
    return [_line(titles), f"|{'|'.join(kinds)}|"]


def _line(cells: Sequence[str]) -> str:
    """Return a row; characters that markdown or HTML would read are escaped."""
    shown = (
        cell.replace("\\", "\\\\").replace("|", "\\|").replace("&", "&amp;").replace("<", "&lt;")
        for cell in cells
    )
    return f"| {' | '.join(shown)} |"
