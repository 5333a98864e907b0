"""The table of the recipes as Markdown and JSON, and pictures of their maps."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev

from torch import Tensor

from benchmarks.quality_maps import prepared
from benchmarks.quality_report import machine
from benchmarks.recipe_edges import COLUMNS as EDGE_COLUMNS
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
    "spa": ("CAM", "SPA, neither", "SPA, RAM", "SPA, RAM and SCG"),
    "csoa": ("CAM", "CSoA, base", "CSoA, ConfSeg", "CSoA, both"),
    "spol": ("CAM", "SPOL, addition of 3", "SPOL, multiplication of 3", "SPOL, with segmentation"),
    "ornet": ("CAM", "ORNet, stage one", "ORNet, L_e", "ORNet, all"),
    "sem_edges": (
        "CAM, hard negative suppression",
        "SEM, vanilla",
        "SEM, hard negative suppression",
    ),
}
SHOWN = 5  # scenes a picture


def line(name: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Return one line of the table: means over seeds, with the spread where there are several."""
    columns = COLUMNS if COLUMNS[0] in rows[0] else EDGE_COLUMNS
    cells = []
    for column in columns:
        values = [100 * row[column] for row in rows]
        spread = f" ± {pstdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{fmean(values):.1f}{spread}")
    return f"| {name} | {' | '.join(cells)} |"


def table(parts: Mapping[str, Rows], cam: Sequence[Mapping[str, float]] | None) -> str:
    """Return one table for each part as Markdown; the gain over the CAM where that was measured."""
    texts = []
    for part, rows in parts.items():
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
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _mean(rows: Sequence[Mapping[str, float]], column: str) -> float:
    return fmean(row[column] for row in rows)


def save(
    options: argparse.Namespace, parts: Mapping[str, Rows], names: Sequence[str], seconds: float
) -> None:
    """Write recipes.json and recipes.md."""
    shown = {key: value for key, value in vars(options).items() if isinstance(value, (int, list))}
    record = {
        "command": "python -m benchmarks.recipes",
        **machine(),
        "seconds": round(seconds),
        "options": shown,
        "classes": list(names),
        "parts": parts,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "recipes.json").write_text(json.dumps(record, indent=1) + "\n")
    settings = ", ".join(f"{key} {value}" for key, value in shown.items() if key != "parts")
    about = (
        f"`{record['command']}` in {seconds / 60:.0f} minutes: {settings}; "
        f"classes {', '.join(names)}.\n"
        + ", ".join(f"{key} {value}" for key, value in machine().items())
    )
    text = f"{table(parts, parts.get('cam', {}).get('CAM'))}\n\n{about}.\n"
    (options.out / "recipes.md").write_text(text)


def draw(folder: Path, split: Split, shown: Mapping[str, Tensor]) -> None:
    """Write a picture for each recipe: the same test scenes, and the maps of some of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    side = split.masks.shape[-1]
    cases = [*range(0, min(len(split.labels), SHOWN * 7), 7)]
    for recipe, wanted in SHEETS.items():
        names = [name for name in wanted if name in shown]
        if not names:
            continue
        scenes = [split.images[case].permute(1, 2, 0).numpy() for case in cases]
        truth = [split.boxes[case][0] * side / split.sizes[case][0] for case in cases]
        sheet = [[draw_boxes(s, box, width=2) for s, box in zip(scenes, truth, strict=True)]]
        for name in names:
            maps = prepared(shown[name][cases])
            sheet.append([overlay(s, some) for s, some in zip(scenes, maps, strict=True)])
        contact_sheet(
            sheet,
            ["" for _ in cases],
            folder / f"recipe_{recipe}.webp",
            captions=["true box", *names],
            cell=1.1,
        )
