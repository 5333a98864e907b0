"""Curves, bars, and images of the best, typical and worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.quality.counts import Tables
from benchmarks.quality.images import Composites
from benchmarks.quality.measure import STEPS, prepared
from benchmarks.quality.network import Network, batches, small
from benchmarks.quality.rows import Row
from wsolrefine import box_iou
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.metrics import score_map_boxes
from wsolrefine.viz import contact_sheet, draw_boxes, overlay, plot_bars, plot_curves

Rows = Sequence[Mapping[str, Any]]

SHOWN = 5  # cases in an image
CURVES = ("cam", "gppl", "sem", "scg", DEFAULT)
COLORS = {"cam": (255, 160, 60), DEFAULT: (80, 255, 80)}


def draw_curves(folder: Path, rows: Rows, measured: Tables) -> None:
    """Write quality_bars.webp, and quality_curves.webp: box accuracy against the threshold."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = {
        name: measured.rows[name].one[:, 0].double().mean(0)
        for name in dict.fromkeys(CURVES)
        if name in measured.rows
    }
    plot_curves(
        {name: (STEPS[::10], (100 * curve[::10]).tolist()) for name, curve in shown.items()},
        folder / "quality_curves.webp",
        x_label="threshold, as a share of each map's maximum",
        y_label="box accuracy at IoU 0.5, percent",
    )
    plot_bars(
        {row["method"]: 100 * row["MaxBoxAccV2"] for row in rows},
        folder / "quality_bars.webp",
        x_label="MaxBoxAccV2, percent",
    )


def draw_cases(
    folder: Path,
    network: Network,
    scenes: Composites,
    labels: Tensor,
    methods: Mapping[str, Row],
    rows: Rows,
) -> None:
    """Write quality_best.webp, quality_typical.webp and quality_worst.webp: how the boxes fit.

    Only of scenes on backgrounds from mate-backgrounds, which has the same license as the cut-outs.
    """
    # The last of the thresholds is that of one box at IoU 0.5.
    threshold = {row["method"]: row["thresholds"][0][-1] for row in rows}
    maps: dict[str, list[Tensor]] = {name: [] for name in COLORS}
    for batch in batches(network, scenes, labels):
        for name, some in maps.items():
            some += prepared(methods[name](batch))
    boxes = {
        name: [score_map_boxes(map, threshold[name])[0].float() for map in some]
        for name, some in maps.items()
    }
    truth = [scenes[index].scaled_boxes()[0] for index in range(len(scenes))]
    fit = [
        box_iou(box[None], true[None]).item()
        for box, true in zip(boxes[DEFAULT], truth, strict=True)
    ]
    for name, cases in _cases(scenes, fit).items():
        columns = []
        for i in cases:
            scene = small(scenes[i]).permute(1, 2, 0).numpy()
            boxed = draw_boxes(scene, truth[i], width=2)
            for shown, color in COLORS.items():
                box, dashed = boxes[shown][i], shown == "cam"
                boxed = draw_boxes(boxed, box, width=2, color=color, dashed=dashed)
            columns.append([boxed, *(overlay(scene, some[i]) for some in maps.values())])
        contact_sheet(
            [list(cells) for cells in zip(*columns, strict=True)],
            [f"IoU {fit[i]:.2f}" for i in cases],
            folder / f"quality_{name}.webp",
            captions=[f"true (white), cam (dashed), {DEFAULT} (green)", "cam", DEFAULT],
            cell=1.0,
        )


def _cases(scenes: Composites, fit: Sequence[float]) -> dict[str, list[int]]:
    """Return the scenes with the best, the middle and the worst fits."""
    shared = {path.stem for path in scenes.scenes.backgrounds if "mate" in path.parts}
    order = [
        i
        for i in sorted(range(len(fit)), key=lambda i: -fit[i])
        if scenes.scenes[i].background in shared
    ]
    middle = max(0, len(order) - SHOWN) // 2
    typical = order[middle : middle + SHOWN]
    return {"best": order[:SHOWN], "typical": typical, "worst": order[::-1][:SHOWN]}
