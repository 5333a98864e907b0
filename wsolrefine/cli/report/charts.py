"""The curves and results of ``evaluate``, as the page draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsolrefine._files import read_json
from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.output import EVALUATION
from wsolrefine.cli.files import kind_of

Line = dict[str, Any]


def find_evaluation(given: Path | None, folders: Sequence[Path]) -> Path | None:
    """Return the file of results that is named, or that lies in a folder; None if there is none."""
    if given is not None:
        return given / EVALUATION if kind_of(given) == "folder" else given
    there = (folder / EVALUATION for folder in folders)
    return next((path for path in there if kind_of(path) == "file"), None)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return what the page shows of a file of results, or stop.

    Returns:
        ``source``: what was evaluated; ``numbers``: pairs of a name and a percentage; ``charts``:
        titles, axes and lines.

    """
    try:
        content = read_json(path)
        protocol = content["protocol"]
        source = f"{protocol['data set']}, {Path(protocol['split']).name}, {protocol['images']}"
        numbers = _numbers(content["results"])
        charts = _charts(content["results"], content["curves"])
    except OSError as error:
        stop(f"--evaluation: {path}: {error.strerror or error}")
    except ValueError as error:
        stop(f"--evaluation: {error}")
    except (AttributeError, KeyError, TypeError):
        stop(f"--evaluation: expected results of wsolrefine evaluate, got {path}")
    return {"source": source, "numbers": numbers, "charts": charts}


def _numbers(results: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = {}
    if "box_acc" in results:
        found["MaxBoxAcc (IoU 0.5)"] = results["box_acc"]["accuracy"]
        found["MaxBoxAccV2"] = results["box_acc_v2"]["accuracy"]
    for name, title in (("top1", "Top-1 Loc"), ("top5", "Top-5 Loc"), ("gt_known", "GT-known Loc")):
        if name in results.get("localization", {}):
            found[title] = results["localization"][name]
    if "px_ap" in results:
        found["PxAP"] = results["px_ap"]
        found["peak IoU"] = results["peak_iou"]["iou"]
    if "boundary" in results:
        found["AP of boundaries"] = results["boundary"]["average_precision"]
    return [(name, 100 * float(value)) for name, value in found.items()]


def _charts(results: Mapping[str, Any], curves: Mapping[str, Any]) -> list[Line]:
    charts = []
    if "box_acc" in results:
        at = curves["thresholds"]
        lines = [_line("one box, IoU 0.5", at, curves["box_acc"], results["box_acc"]["threshold"])]
        for one in results["box_acc_v2"]["by_iou"]:
            name, values = f"any box, IoU {one['iou']}", curves["box_acc_v2"][str(one["iou"])]
            lines.append(_line(name, at, values, one["threshold"]))
        charts.append(_chart("Box accuracy", "threshold", "images, percent", lines))
    if "peak_iou" in results:
        values = curves["iou_by_level"]
        levels = list(range(len(values)))
        line = _line("IoU", levels, values, results["peak_iou"]["threshold"])
        charts.append(_chart("IoU of all pixels", "gray level", "IoU, percent", [line]))
    if "precision" in curves:
        recall = [100 * value for value in curves["recall"]]
        line = _line("precision", recall, curves["precision"], None)
        title = "Precision and recall"
        charts.append(_chart(title, "recall, percent", "precision, percent", [line]))
    return charts


def _chart(title: str, x_label: str, y_label: str, lines: list[Line]) -> Line:
    return {"title": title, "x": x_label, "y": y_label, "lines": lines}


def _line(name: str, x: Sequence[float], y: Sequence[float], mark: float | None) -> Line:
    """Return a line in percent; four digits are more than a screen shows."""
    points = [(float(f"{a:.4g}"), float(f"{100 * b:.4g}")) for a, b in zip(x, y, strict=True)]
    nearest = None if mark is None else min(range(len(x)), key=lambda i: abs(x[i] - mark))
    return {"name": name, "points": points, "mark": nearest}
