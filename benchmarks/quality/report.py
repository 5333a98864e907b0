"""The table of figures as Markdown and JSON, curves, and pictures of the best and worst cases."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.quality_maps import DEFAULT, METHODS, Located, prepared
from benchmarks.scenes import Scenes
from wsolrefine import box_iou
from wsolrefine.metrics import score_map_boxes
from wsolrefine.viz import contact_sheet, draw_boxes, overlay, plot_bars, plot_curves

Rows = Sequence[Mapping[str, str | float]]
COLUMNS = (
    "MaxBoxAccV2",
    "best MaxBoxAccV2",
    "box accuracy 0.5",
    "PxAP",
    "Peak-IoU",
    "best Peak-IoU",
    "Peak-T",
)
SHOWN = 5  # cases a picture
CURVES = ("cam", "gppl", "sem, 14x14, 20 seeds", DEFAULT)


def table(rows: Rows, columns: Sequence[str] = COLUMNS) -> str:
    """Return the figures in per cent as a Markdown table."""
    lines = [["method", *columns], ["---", *["--:"] * len(columns)]]
    for row in rows:
        shown = [
            str(row[name]) if name == "Peak-T" else f"{100 * float(row[name]):.1f}"
            for name in columns
        ]
        lines.append([str(row["method"]), *shown])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = [
        " | ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(f"| {line} |" for line in padded)


def machine() -> dict[str, str | int]:
    """Return what the figures were measured on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def save(
    folder: Path,
    rows: Rows,
    scenes: Mapping[str, Scenes],
    seed: int,
    *,
    name: str = "quality",
    columns: Sequence[str] = COLUMNS,
) -> None:
    """Write quality.json and quality.md, or those of another benchmark."""
    sizes = {
        split: {
            "scenes": len(some),
            "cut-outs": len(some.stamps),
            "backgrounds": len(some.backgrounds),
        }
        for split, some in scenes.items()
    }
    about = {
        "command": f"python -m benchmarks.{name} --scenes {len(scenes['test'])}",
        "seed": seed,
    }
    record = {**about, **machine(), "splits": sizes, "rows": list(rows)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    of_splits = "; ".join(
        f"{split}: " + ", ".join(f"{number} {of}" for of, number in size.items())
        for split, size in sizes.items()
    )
    on = ", ".join(f"{key} {value}" for key, value in machine().items())
    text = f"{table(rows, columns)}\n\n`{about['command']}`, seed {seed}. {of_splits}.\n{on}.\n"
    (folder / f"{name}.md").write_text(text)


def draw_figures(folder: Path, rows: Rows, curves: Mapping[str, Sequence[float]]) -> None:
    """Write quality_bars.webp, and quality_curves.webp: box accuracy against the threshold."""
    folder.mkdir(parents=True, exist_ok=True)
    plot_curves(
        {name: ([k / 100 for k in range(100)], [100 * v for v in curves[name]]) for name in CURVES},
        folder / "quality_curves.webp",
        x_label="threshold, as a share of each map's maximum",
        y_label="box accuracy at IoU 0.5, per cent",
    )
    plot_bars(
        {str(row["method"]): 100 * float(row["MaxBoxAccV2"]) for row in rows},
        folder / "quality_bars.webp",
        x_label="MaxBoxAccV2, per cent",
    )


def draw_cases(folder: Path, scenes: Scenes, found: Located, rows: Rows) -> None:
    """Write quality_best.webp and quality_worst.webp: where SCG's box fits best, and worst.

    Of scenes on backgrounds from mate-backgrounds alone, whose licence is that of the cut-outs.
    """
    side = found.masks.shape[-1]
    threshold = {str(row["method"]): float(row["threshold 0.5"]) for row in rows}
    maps = {name: prepared(METHODS[name](found)) for name in ("cam", DEFAULT)}
    boxes = {
        name: [score_map_boxes(map, threshold[name])[0].float() for map in some]
        for name, some in maps.items()
    }
    truth = [box[0] * side / size[0] for box, size in zip(found.boxes, found.sizes, strict=True)]
    fit = [
        box_iou(box[None], true[None]).item()
        for box, true in zip(boxes[DEFAULT], truth, strict=True)
    ]
    shared = {path.stem for path in scenes.backgrounds if "mate" in path.parts}
    order = [
        i for i in sorted(range(len(fit)), key=lambda i: -fit[i]) if scenes[i].background in shared
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name, cases in (("best", order[:SHOWN]), ("worst", order[::-1][:SHOWN])):
        columns = []
        for i in cases:
            scene = cv2.resize(scenes[i].image, (side, side), interpolation=cv2.INTER_AREA)
            drawn = draw_boxes(scene, truth[i], width=2)
            drawn = draw_boxes(drawn, boxes["cam"][i], width=2, color=(255, 160, 60), dashed=True)
            drawn = draw_boxes(drawn, boxes[DEFAULT][i], width=2, color=(80, 255, 80))
            columns.append([drawn, *(overlay(scene, some[i]) for some in maps.values())])
        contact_sheet(
            [list(cells) for cells in zip(*columns, strict=True)],
            [f"IoU {fit[i]:.2f}" for i in cases],
            folder / f"quality_{name}.webp",
            captions=["true (white), CAM (dashed), SCG (green)", "CAM", "SCG"],
            cell=1.1,
        )
