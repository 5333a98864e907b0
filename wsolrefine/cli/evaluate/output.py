"""What ``evaluate`` leaves behind: one JSON file and the plots."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from wsolrefine import __version__
from wsolrefine.cli.evaluate.options import Options
from wsolrefine.cli.evaluate.protocol import Said
from wsolrefine.cli.evaluate.results import Figures
from wsolrefine.cli.files import replacing
from wsolrefine.viz import plot_bars, plot_curves

EVALUATION = "evaluation.json"
BOXES, LEVELS, PIXELS, ERRORS = (
    "box_accuracy.png",
    "iou_threshold.png",
    "precision_recall.png",
    "errors.png",
)


def write(options: Options, how: Said, said: Figures, curves: Figures) -> list[Path]:
    """Write everything and return the paths; each file appears whole, the JSON file last.

    Plots that an earlier run left in the folder and this one has no figures for are deleted.

    Raises:
        OSError: the folder cannot be written to.

    """
    out, plots = options.out, _plots(how, said, curves)
    for name in (BOXES, LEVELS, PIXELS, ERRORS):
        if name not in plots:
            (out / name).unlink(missing_ok=True)
            continue
        with replacing(out / name) as temporary:
            plots[name](temporary)
    content = {
        "protocol": how,
        "figures": said,
        "curves": curves,
        "options": {name: _plain(value) for name, value in options._asdict().items()},
        "versions": {
            "wsolrefine": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }
    with replacing(out / EVALUATION) as temporary:
        # ASCII escapes: a folder's name may hold bytes that UTF-8 cannot express.
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
    return [out / name for name in (EVALUATION, *plots)]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _plots(how: Said, said: Figures, curves: Figures) -> dict[str, Callable[[Path], None]]:
    """Return a drawing function for each plot that there are figures for, all in per cent."""
    title = f"{how['data set'].split(' ')[0]} {Path(how['split']).name}, {how['images']}"
    drawn: dict[str, Callable[[Path], None]] = {}
    if "box_acc" in said:
        lines = {"one box, IoU 0.5": curves["box_acc"]}
        marks = {"one box, IoU 0.5": said["box_acc"]["threshold"]}
        for one in said["box_acc_v2"]["by_iou"]:
            name = f"any box, IoU {one['iou']}"
            lines[name], marks[name] = curves["box_acc_v2"][str(one["iou"])], one["threshold"]
        across = curves["thresholds"]
        drawn[BOXES] = lambda path: plot_curves(
            {name: (across, _percent(values)) for name, values in lines.items()},
            path,
            x_label="threshold, as a share of each map's maximum",
            y_label="box accuracy, per cent",
            title=title,
            marks=marks,
        )
    if "peak_iou" in said:
        levels = _percent(curves["iou_by_level"])
        drawn[LEVELS] = lambda path: plot_curves(
            {"IoU": (range(len(levels)), levels)},
            path,
            x_label="threshold, grey level 0 to 255",
            y_label="IoU of all pixels, per cent",
            title=title,
            marks={"IoU": said["peak_iou"]["threshold"]},
        )
        name = f"PxAP {100 * said['px_ap']:.1f}"
        drawn[PIXELS] = lambda path: plot_curves(
            {name: (_percent(curves["recall"]), _percent(curves["precision"]))},
            path,
            x_label="recall of pixels, per cent",
            y_label="precision of pixels, per cent",
            title=title,
            marks={},
        )
    if "boundary" in said:
        area = f"AP {100 * said['boundary']['average_precision']:.1f}"
        drawn[PIXELS] = lambda path: plot_curves(
            {area: (_percent(curves["recall"]), _percent(curves["precision"]))},
            path,
            x_label="recall of outlines, per cent",
            y_label="precision of edges, per cent",
            title=title,
            marks={},
        )
    if "errors" in said:
        shares = {k.replace("_", " "): 100 * value for k, value in said["errors"].items()}
        drawn[ERRORS] = lambda path: plot_bars(
            shares, path, x_label="images, per cent", title=title
        )
    return drawn


def _percent(values: list[float]) -> list[float]:
    return [100 * value for value in values]
