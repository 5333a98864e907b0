"""Results as JSON and Markdown, curves, and images of the best and worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from benchmarks.common import MACHINE, ORIGIN, in_words, machine, table, write_json
from benchmarks.quality.maps import DEFAULT, ROWS, Located, prepared
from benchmarks.scenes import Scenes
from wsolrefine import box_iou
from wsolrefine.metrics import score_map_boxes
from wsolrefine.viz import contact_sheet, draw_boxes, overlay, plot_bars, plot_curves

Rows = Sequence[Mapping[str, str | float]]
COLUMNS = {
    "quality": (
        "MaxBoxAccV2",
        "best MaxBoxAccV2",
        "box accuracy 0.5",
        "PxAP",
        "Peak-IoU",
        "best Peak-IoU",
        "Peak-T",
    ),
    "boundaries": ("precision", "recall", "F", "IoU of the mask"),
}
"""What the table of a benchmark shows; its JSON has more."""

SHOWN = 5  # cases in an image
CURVES = ("cam", "gppl", "sem, 14x14, 20 seeds", DEFAULT)


def record_of(
    name: str,
    rows: Rows,
    scenes: Mapping[str, Scenes],
    seed: int,
    *,
    seconds: float,
    begun: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the record of a run, with the ``origin`` that it began with."""
    splits = {
        split: {
            "scenes": len(some),
            "cut-outs": len(some.stamps),
            "backgrounds": len(some.backgrounds),
        }
        for split, some in scenes.items()
    }
    return {
        "command": f"python -m benchmarks.{name} --scenes {len(scenes['test'])}",
        "seed": seed,
        **begun,
        "seconds": round(seconds),
        **machine(),
        "splits": splits,
        "rows": list(rows),
    }


def save(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Write NAME.json and NAME.md."""
    write_json(folder / f"{name}.json", record)
    (folder / f"{name}.md").write_text(render(name, record), "utf-8")


def render(name: str, record: Mapping[str, Any]) -> str:
    """Return a record as Markdown: the results in percent, and how they were measured."""
    columns = COLUMNS[name]
    lines = [
        [row["method"], *(_shown(column, row[column]) for column in columns)]
        for row in record["rows"]
    ]
    splits = "; ".join(
        f"{split}: " + ", ".join(f"{number} {of}" for of, number in size.items())
        for split, size in record["splits"].items()
    )
    about = [
        f"`{record['command']}`, seed {record['seed']}. {splits}.",
        f"{in_words(record, MACHINE)}.",
    ]
    if "version" in record:  # records of the first development version have none
        minutes = f"{record['seconds'] / 60:.0f} minutes"
        about.append(f"wsolrefine {in_words(record, ORIGIN)}, {minutes}.")
    return "\n".join([table(["method", *columns], lines), "", *about, ""])


def _shown(column: str, value: float) -> str:
    return str(value) if column == "Peak-T" else f"{100 * value:.1f}"


def draw_curves(folder: Path, rows: Rows, curves: Mapping[str, Sequence[float]]) -> None:
    """Write quality_bars.webp, and quality_curves.webp: box accuracy against the threshold."""
    folder.mkdir(parents=True, exist_ok=True)
    plot_curves(
        {name: ([k / 100 for k in range(100)], [100 * v for v in curves[name]]) for name in CURVES},
        folder / "quality_curves.webp",
        x_label="threshold, as a share of each map's maximum",
        y_label="box accuracy at IoU 0.5, percent",
    )
    plot_bars(
        {str(row["method"]): 100 * float(row["MaxBoxAccV2"]) for row in rows},
        folder / "quality_bars.webp",
        x_label="MaxBoxAccV2, percent",
    )


def draw_cases(folder: Path, scenes: Scenes, found: Located, rows: Rows) -> None:
    """Write quality_best.webp and quality_worst.webp: where SCG's box fits best, and worst.

    Only of scenes on backgrounds from mate-backgrounds, which has the same license as the cut-outs.
    """
    side = found.masks.shape[-1]
    threshold = {str(row["method"]): float(row["threshold 0.5"]) for row in rows}
    maps = {name: prepared(ROWS[name](found)) for name in ("cam", DEFAULT)}
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
            boxed = draw_boxes(scene, truth[i], width=2)
            boxed = draw_boxes(boxed, boxes["cam"][i], width=2, color=(255, 160, 60), dashed=True)
            boxed = draw_boxes(boxed, boxes[DEFAULT][i], width=2, color=(80, 255, 80))
            columns.append([boxed, *(overlay(scene, some[i]) for some in maps.values())])
        contact_sheet(
            [list(cells) for cells in zip(*columns, strict=True)],
            [f"IoU {fit[i]:.2f}" for i in cases],
            folder / f"quality_{name}.webp",
            captions=["true (white), CAM (dashed), SCG (green)", "CAM", "SCG"],
            cell=1.1,
        )
