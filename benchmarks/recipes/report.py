"""The table of the recipes as Markdown and JSON, and pictures of their maps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from torch import Tensor

from benchmarks.quality_maps import prepared
from benchmarks.quality_report import machine
from benchmarks.recipe_edges import COLUMNS as EDGE_COLUMNS
from benchmarks.recipe_rows import CAM
from benchmarks.recipe_scenes import Split
from wsolrefine.viz import contact_sheet, draw_boxes, overlay

Rows = Mapping[str, Sequence[Mapping[str, float]]]
COLUMNS = ("MaxBoxAccV2", "GT-known", "Top-1 Loc", "PxAP", "accuracy")
TITLES = {
    "cam": "What all are compared with",
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
SHOWN, STEP = 5, 7  # scenes a picture, and how far apart


def line(name: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Return one line of the table: means over seeds, with the spread where there are several."""
    columns = COLUMNS if COLUMNS[0] in rows[0] else EDGE_COLUMNS
    cells = []
    for column in columns:
        values = [100 * row[column] for row in rows]
        spread = f" ± {pstdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.1f}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def table(part: str, rows: Rows, cam: Sequence[Mapping[str, float]] | None) -> str:
    """Return the table of a part as Markdown; the gain over the CAM where that was measured."""
    columns = EDGE_COLUMNS if part == "edges" else COLUMNS
    gains = cam is not None and part not in ("cam", "edges")
    head = [TITLES[part], *columns, *(["gain over CAM"] if gains else [])]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for name, some in rows.items():
        text = line(name, some)
        if gains and cam is not None:
            gain = 100 * (_mean(some, COLUMNS[0]) - _mean(cam, COLUMNS[0]))
            text += f" {gain:+.1f} |"
        lines.append(text)
    return "\n".join(lines)


def _mean(rows: Sequence[Mapping[str, float]], column: str) -> float:
    return fmean(row[column] for row in rows)


def merged(path: Path, head: Mapping[str, Any], part: str, found: Mapping[str, Any]) -> Any:
    """Add a part to the record at ``path``, write it, and return it.

    Parts of a record with another head (machine, scenes, options) are dropped: what stands in one
    table was measured on the same scenes in the same way.
    """
    record = json.loads(path.read_text()) if path.exists() else {}
    earlier = record.pop("parts", {}) if record else {}
    parts = {**(earlier if record == head else {}), part: found}
    record = {**head, "parts": {name: parts[name] for name in TITLES if name in parts}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return record


def report(record: Mapping[str, Any]) -> str:
    """Return the tables of a record, and how they were made, as Markdown.

    Each part is a section that a page can include by its name.
    """
    parts = record["parts"]
    cam = parts["cam"]["rows"][CAM] if "cam" in parts else None
    tables = [
        f"<!-- --8<-- [start:{part}] -->\n{table(part, found['rows'], cam)}\n"
        f"<!-- --8<-- [end:{part}] -->"
        for part, found in parts.items()
    ]
    options = ", ".join(f"{key} {value}" for key, value in record["options"].items())
    versions = ", ".join(f"{key} {record[key]}" for key in machine())
    runs = ", ".join(
        f"{part} {of['seconds'] / 60:.0f} minutes for {of['seeds']} seeds"
        for part, of in parts.items()
    )
    about = (
        f"`{record['command']}`: {options}; classes {', '.join(record['classes'])}.\n"
        f"{versions}.\n{runs}.\n"
    )
    return "\n\n".join([*tables, about])


def draw(folder: Path, part: str, split: Split, shown: Mapping[str, Tensor]) -> None:
    """Write a picture of a part: test scenes, and the maps of some of the rows that were run."""
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
