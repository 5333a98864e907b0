"""The files of ``evaluate``: one JSON file and the plots."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from wsolrefine import __version__
from wsolrefine.cli.console import printable
from wsolrefine.cli.evaluate.protocol import Protocol
from wsolrefine.cli.evaluate.results import Results
from wsolrefine.cli.files import replacing
from wsolrefine.cli.journal import writing
from wsolrefine.viz import plot_bars, plot_curves

EVALUATION = "evaluation.json"
BOXES, LEVELS, PIXELS, ERRORS = (
    "box_accuracy.png",
    "iou_threshold.png",
    "precision_recall.png",
    "errors.png",
)
FILES = (EVALUATION, BOXES, LEVELS, PIXELS, ERRORS)


def write(
    out: Path, given: Mapping[str, Any], protocol: Protocol, results: Results, curves: Results
) -> list[Path]:
    """Write all files atomically, the JSON file last, and return their paths.

    Plots of an earlier run are deleted if this run has no results for them.

    Raises:
        FolderInUse: another run is writing to the folder.
        OSError: the folder cannot be written to.

    """
    plots = _plots(protocol, results, curves)
    files = [EVALUATION, *plots]
    content = {
        "protocol": protocol,
        "results": results,
        "curves": curves,
        "options": {name: _plain(value) for name, value in given.items()},
        "versions": {
            "wsolrefine": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        "files": files,
    }
    with writing(out, EVALUATION, FILES) as earlier:
        for name in (BOXES, LEVELS, PIXELS, ERRORS):
            if name in plots:
                with replacing(out / name) as temporary:
                    plots[name](temporary)
            elif name in earlier:
                (out / name).unlink(missing_ok=True)
        with replacing(out / EVALUATION) as temporary:
            # With ASCII escapes, because a folder's name may contain bytes that UTF-8 cannot encode
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False), "utf-8")
    return [out / name for name in files]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _plots(
    protocol: Protocol, results: Results, curves: Results
) -> dict[str, Callable[[Path], None]]:
    """Return a function that draws the plot, for each plot that has results; all in percent."""
    name = f"{protocol['data set'].split(' ')[0]} {Path(protocol['split']).name}"
    title = printable(f"{name}, {protocol['images']}").plain  # a folder may have any name
    plots: dict[str, Callable[[Path], None]] = {}
    if "box_acc" in results:
        lines = {"one box, IoU 0.5": curves["box_acc"]}
        marks = {"one box, IoU 0.5": results["box_acc"]["threshold"]}
        for one in results["box_acc_v2"]["by_iou"]:
            name = f"any box, IoU {one['iou']}"
            lines[name], marks[name] = curves["box_acc_v2"][str(one["iou"])], one["threshold"]
        thresholds = curves["thresholds"]
        plots[BOXES] = lambda path: plot_curves(
            {name: (thresholds, _percent(values)) for name, values in lines.items()},
            path,
            x_label="threshold, as a fraction of each map's maximum",
            y_label="box accuracy, percent",
            title=title,
            marks=marks,
        )
    if "peak_iou" in results:
        levels = _percent(curves["iou_by_level"])
        plots[LEVELS] = lambda path: plot_curves(
            {"IoU": (range(len(levels)), levels)},
            path,
            x_label="threshold, gray level 0 to 255",
            y_label="IoU of all pixels, percent",
            title=title,
            marks={"IoU": results["peak_iou"]["threshold"]},
        )
        name = f"PxAP {100 * results['px_ap']:.1f}"
        plots[PIXELS] = lambda path: plot_curves(
            {name: (_percent(curves["recall"]), _percent(curves["precision"]))},
            path,
            x_label="recall of pixels, percent",
            y_label="precision of pixels, percent",
            title=title,
            marks={},
        )
    if "boundary" in results:
        area = f"AP {100 * results['boundary']['average_precision']:.1f}"
        plots[PIXELS] = lambda path: plot_curves(
            {area: (_percent(curves["recall"]), _percent(curves["precision"]))},
            path,
            x_label="recall of outlines, percent",
            y_label="precision of edges, percent",
            title=title,
            marks={},
        )
    if "errors" in results:
        errors = {k.replace("_", " "): 100 * value for k, value in results["errors"].items()}
        plots[ERRORS] = lambda path: plot_bars(errors, path, x_label="images, percent", title=title)
    return plots


def _percent(values: list[float]) -> list[float]:
    return [100 * value for value in values]
