"""The results of ``evaluate`` on the terminal, in percent."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from wsolrefine.cli.console import printable
from wsolrefine.cli.evaluate.protocol import Protocol
from wsolrefine.cli.evaluate.results import Results

CLASS_NAMES = {"top1": "Top-1", "top5": "Top-5", "gt_known": "GT-known"}
Row = tuple[str, str, str, str]


def show(
    console: Console, protocol: Protocol, results: Results, threshold_split: str | None
) -> None:
    """Print the protocol and the results.

    Args:
        console: where to print.
        protocol: its lines.
        results: as fractions.
        threshold_split: name of the other split on which thresholds were chosen; None: there is
            none.

    """
    lines = Table.grid(padding=(0, 2))
    for name, value in protocol.items():
        lines.add_row(name, printable(value, console))
    console.print(lines)
    table = Table("metric")
    table.add_column("percent", justify="right")
    table.add_column("threshold", justify="right")
    if threshold_split is not None:
        table.add_column("best on this split", justify="right")
        table.caption = printable(f"thresholds chosen on {threshold_split}", console)
    for row in rows(results, other_split=threshold_split is not None):
        table.add_row(*row[: len(table.columns)])
    console.print(table)


def rows(results: Results, *, other_split: bool) -> Iterator[Row]:
    """Yield name, value, threshold, and the value at the best threshold of the evaluated split.

    With ``other_split``, thresholds were chosen on another split, so values are not maxima.

    Example:
        >>> levels = {"iou": 0.5, "threshold": 63, "max_iou": 0.51, "average_precision": 0.6}
        >>> list(rows({"px_ap": 0.61234, "peak_iou": levels}, other_split=True))[:2]
        [('PxAP', '61.23', '', ''), ('IoU', '50.00', '63 of 255', '51.00')]

    """
    top = "" if other_split else "Max"
    if "box_acc" in results:
        found = results["box_acc"]
        best = _percent(found["max_accuracy"])
        yield (
            f"{top}BoxAcc (IoU {found['iou']})", _percent(found["accuracy"]),
            f"{found['threshold']:g}", best,
        )  # fmt: skip
        found = results["box_acc_v2"]
        best = _percent(found["max_accuracy"])
        yield f"{top}BoxAccV2", _percent(found["accuracy"]), "", best
        for one in found["by_iou"]:
            best = _percent(one["max_accuracy"])
            yield f"  IoU {one['iou']}", _percent(one["accuracy"]), f"{one['threshold']:g}", best
    if "peak_iou" in results:
        yield "PxAP", _percent(results["px_ap"]), "", ""
        found = results["peak_iou"]
        name, best = "IoU" if other_split else "Peak-IoU", _percent(found["max_iou"])
        yield name, _percent(found["iou"]), f"{found['threshold']} of 255", best
        yield "AP of gray levels", _percent(found["average_precision"]), "", ""
    if "boundary" in results:
        found = results["boundary"]
        yield "ODS", _percent(found["ods"]), f"{found['ods_threshold']:g}", ""
        yield "OIS", _percent(found["ois"]), "", ""
        yield "AP of edges", _percent(found["average_precision"]), "", ""
    if "localization" in results:
        threshold = f"{results['box_acc']['threshold']:g}"
        for key, value in results["classification"].items():
            yield f"{CLASS_NAMES[key]} classification", _percent(value), "", ""
        for key, value in results["localization"].items():
            yield f"{CLASS_NAMES[key]} localization", _percent(value), threshold, ""
        yield "Error types", "", threshold, ""
        for key, value in results["errors"].items():
            yield f"  {key.replace('_', ' ')}", _percent(value), "", ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
