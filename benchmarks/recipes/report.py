"""The tables of the recipes as Markdown and JSON, and images of their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from torch import Tensor

from benchmarks.common import MACHINE, ORIGIN, in_words, table
from benchmarks.quality.measure import prepared
from benchmarks.recipes.rows import CAM
from benchmarks.recipes.splits import Split
from wsolrefine.viz import contact_sheet, draw_boxes, overlay

Rows = Mapping[str, Sequence[Mapping[str, float]]]
COST = "forwards"
COLUMNS = ("MaxBoxAccV2", "GT-known", "Top-1 Loc", "PxAP", "accuracy", COST)
EDGE_COLUMNS = ("ODS", "OIS", "AP")
TITLES = {
    "cam": "Baseline",
    "spa": "SPA (its Table 6)",
    "csoa": "CSoA (its Table 1)",
    "spol": "SPOL (its Tables 2 to 4)",
    "ornet": "ORNet (its Tables 3 and 4)",
    "distill": "Distillation",
    "edges": "SEM's edges (its Table 7)",
}
SHEETS = {
    "spa": ("SPA, neither", "SPA, RAM", "SPA, SCG", "SPA, RAM and SCG"),
    "csoa": ("CSoA, base", "CSoA, ConfSeg", "CSoA, CoAug", "CSoA, both"),
    "spol": (
        "SPOL, addition of 3",
        "SPOL, multiplication of 3",
        "SPOL, with segmentation",
        "SPOL, with segmentation and the CAM",
    ),
    "ornet": ("ORNet, stage one", "ORNet, L_e", "ORNet, all"),
    "distill": (
        "scg, the teacher",
        "scg, distilled into an MFF-Net",
        "accurate, the teacher",
        "accurate, distilled into an MFF-Net",
    ),
    "edges": (
        "CAM, hard negative suppression",
        "SEM, vanilla",
        "SEM, hard negative suppression",
    ),
}
SHOWN, STEP = 5, 7  # scenes in an image, and how far apart


def columns_of(row: Mapping[str, float]) -> list[str]:
    """Return the columns of a row: those of edges, or those of maps as far as they are measured."""
    columns = COLUMNS if COLUMNS[0] in row else EDGE_COLUMNS
    return [column for column in columns if column in row]


def in_percent(results: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean over seeds, with its standard error if there are several."""
    percent = [100 * result for result in results]
    error = f" ± {stdev(percent) / sqrt(len(percent)):.1f}" if len(percent) > 1 else ""
    return f"{fmean(percent):{'+' if signed else ''}.1f}{error}"


def values(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the cells of a row: in percent, but for the cost."""
    columns = {column: [row[column] for row in rows] for column in columns_of(rows[0])}
    return [
        f"{fmean(some):.1f}" if column == COST else in_percent(some)
        for column, some in columns.items()
    ]


def part_table(part: str, rows: Rows, cam: Sequence[Mapping[str, float]] | None) -> str:
    """Return the table of a part as Markdown, with the gain over the CAM if that was measured."""
    columns = columns_of(next(iter(rows.values()))[0])
    gains = cam is not None and part != "cam" and columns[0] == COLUMNS[0]
    lines = []
    for name, some in rows.items():
        lines.append([name, *values(some)])
        if gains and cam is not None:
            lines[-1].append(in_percent(gains_of(some, cam), signed=True))
    return table([TITLES[part], *columns, *(["gain over CAM"] if gains else [])], lines)


def gains_of(
    rows: Sequence[Mapping[str, float]], cam: Sequence[Mapping[str, float]]
) -> list[float]:
    """Return the gain over the CAM of each seed: both saw the pool in the same order.

    If the CAM was trained with other seeds, its mean is subtracted.
    """
    baseline = [row[COLUMNS[0]] for row in cam]
    if len(baseline) != len(rows):
        baseline = [fmean(baseline)] * len(rows)
    return [row[COLUMNS[0]] - one for row, one in zip(rows, baseline, strict=True)]


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
    options = _listed(record["options"])
    runs = ", ".join(_run(part, found) for part, found in parts.items())
    images = f" Images: {_listed(record['images'])}." if "images" in record else ""
    about = (
        f"`{record['command']}`: {options}; classes {', '.join(record['classes'])}.{images}\n"
        f"{in_words(record, MACHINE)}.\n{runs}.\n"
    )
    return "\n\n".join([*tables, about])


def _listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in entries.items())


def _run(part: str, found: Mapping[str, Any]) -> str:
    """Return how long a part took, and of which commit it is."""
    seeds = "1 seed" if found["seeds"] == 1 else f"{found['seeds']} seeds"
    text = f"{part} {found['seconds'] / 60:.0f} minutes for {seeds}"
    # Records of the first development version have no origin.
    origin = [in_words(found, ORIGIN)] if "version" in found else []
    details = [*([_listed(found["options"])] if "options" in found else []), *origin]
    return f"{text} ({', '.join(details)})" if details else text


def draw(folder: Path, part: str, split: Split, shown: Mapping[str, Tensor]) -> None:
    """Write an image of a part: test scenes, and the maps of some of its rows."""
    names = [name for name in SHEETS.get(part, ()) if name in shown]
    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    side, known = split.images.shape[-1], split.known()
    last = min(len(shown[name]) for name in names)
    cases = [*range(0, min(last, SHOWN * STEP), STEP)]
    scenes = [split.images[case].permute(1, 2, 0).numpy() for case in cases]
    truth = [known.boxes[case][0] * side / known.sizes[case][0] for case in cases]
    sheet = [[draw_boxes(s, box, width=2) for s, box in zip(scenes, truth, strict=True)]]
    for name in names:
        maps = prepared(shown[name][cases])
        sheet.append([overlay(s, some) for s, some in zip(scenes, maps, strict=True)])
    path = folder / f"recipe_{part}.webp"
    titles = [f"scene {case}" for case in cases]
    contact_sheet(sheet, titles, path, captions=["true box", *names], cell=0.72)
