"""The tables of the recipes as Markdown and JSON, and images of their maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from torch import Tensor

from benchmarks.common import MACHINE, ORIGIN, in_words, table, write_json
from benchmarks.quality.measure import prepared
from benchmarks.recipes.rows import CAM
from benchmarks.recipes.scenes import Split
from wsolrefine.viz import contact_sheet, draw_boxes, overlay

Rows = Mapping[str, Sequence[Mapping[str, float]]]
COLUMNS = ("MaxBoxAccV2", "GT-known", "Top-1 Loc", "PxAP", "accuracy")
EDGE_COLUMNS = ("ODS", "OIS", "AP")
TITLES = {
    "cam": "Baseline",
    "spa": "SPA (its Table 6)",
    "csoa": "CSoA (its Table 1)",
    "spol": "SPOL (its Tables 2 to 4)",
    "ornet": "ORNet (its Tables 3 and 4)",
    "edges": "SEM's edges (its Table 7)",
}
SHEETS = {
    "spa": ("SPA, neither", "SPA, RAM", "SPA, SCG", "SPA, RAM and SCG"),
    "csoa": ("CSoA, base", "CSoA, ConfSeg", "CSoA, CoAug", "CSoA, both"),
    "spol": (
        "SPOL, CAM of the last stage",
        "SPOL, addition of 3",
        "SPOL, multiplication of 3",
        "SPOL, with segmentation",
    ),
    "ornet": ("ORNet, stage one", "ORNet, L_e", "ORNet, all"),
    "edges": (
        "CAM, hard negative suppression",
        "SEM, vanilla",
        "SEM, hard negative suppression",
    ),
}
SHOWN, STEP = 5, 7  # scenes in an image, and how far apart


def values(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the cells of a row in percent: means over seeds, with the spread if several."""
    columns = COLUMNS if COLUMNS[0] in rows[0] else EDGE_COLUMNS
    cells = []
    for column in columns:
        percent = [100 * row[column] for row in rows]
        spread = f" ± {pstdev(percent):.1f}" if len(percent) > 1 else ""
        cells.append(f"{fmean(percent):.1f}{spread}")
    return cells


def part_table(part: str, rows: Rows, cam: Sequence[Mapping[str, float]] | None) -> str:
    """Return the table of a part as Markdown, with the gain over the CAM if that was measured."""
    gains = cam is not None and part not in ("cam", "edges")
    columns = EDGE_COLUMNS if part == "edges" else COLUMNS
    head = [TITLES[part], *columns, *(["gain over CAM"] if gains else [])]
    lines = []
    for name, some in rows.items():
        lines.append([name, *values(some)])
        if gains and cam is not None:
            lines[-1].append(f"{100 * (_mean(some, COLUMNS[0]) - _mean(cam, COLUMNS[0])):+.1f}")
    return table(head, lines)


def _mean(rows: Sequence[Mapping[str, float]], column: str) -> float:
    return fmean(row[column] for row in rows)


def merged(path: Path, head: Mapping[str, Any], part: str, found: Mapping[str, Any]) -> Any:
    """Add a part to the record at ``path``, write it, and return it.

    If ``head`` (machine, scenes, options) differs from that of the record, its other parts are
    dropped: all rows of a record are measured on the same scenes in the same way. Each part has
    its own commit and date.
    """
    record = json.loads(path.read_text("utf-8")) if path.exists() else {}
    earlier = record.pop("parts", {}) if record else {}
    parts = {**(earlier if record == head else {}), part: found}
    record = {**head, "parts": {name: parts[name] for name in TITLES if name in parts}}
    write_json(path, record)
    return record


def render(record: Mapping[str, Any]) -> str:
    """Return the tables of a record, and how they were measured, as Markdown.

    Each part is a section that a page can include by its name.
    """
    parts = record["parts"]
    cam = parts["cam"]["rows"][CAM] if "cam" in parts else None
    tables = [
        f"<!-- --8<-- [start:{part}] -->\n{part_table(part, found['rows'], cam)}\n"
        f"<!-- --8<-- [end:{part}] -->"
        for part, found in parts.items()
    ]
    options = ", ".join(f"{key} {value}" for key, value in record["options"].items())
    runs = ", ".join(_run(part, found) for part, found in parts.items())
    about = (
        f"`{record['command']}`: {options}; classes {', '.join(record['classes'])}.\n"
        f"{in_words(record, MACHINE)}.\n{runs}.\n"
    )
    return "\n\n".join([*tables, about])


def _run(part: str, found: Mapping[str, Any]) -> str:
    """Return how long a part took, and of which commit it is."""
    text = f"{part} {found['seconds'] / 60:.0f} minutes for {found['seeds']} seeds"
    # Records of the first development version have no origin.
    return f"{text} ({in_words(found, ORIGIN)})" if "version" in found else text


def draw(folder: Path, part: str, split: Split, shown: Mapping[str, Tensor]) -> None:
    """Write an image of a part: test scenes, and the maps of some of its rows."""
    names = [name for name in SHEETS.get(part, ()) if name in shown]
    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    side = split.masks.shape[-1]
    last = min(len(shown[name]) for name in names)
    cases = [*range(0, min(last, SHOWN * STEP), STEP)]
    scenes = [split.images[case].permute(1, 2, 0).numpy() for case in cases]
    truth = [split.boxes[case][0] * side / split.sizes[case][0] for case in cases]
    sheet = [[draw_boxes(s, box, width=2) for s, box in zip(scenes, truth, strict=True)]]
    for name in names:
        maps = prepared(shown[name][cases])
        sheet.append([overlay(s, some) for s, some in zip(scenes, maps, strict=True)])
    path = folder / f"recipe_{part}.webp"
    titles = [f"scene {case}" for case in cases]
    contact_sheet(sheet, titles, path, captions=["true box", *names], cell=0.72)
