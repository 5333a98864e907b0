"""The figures of ``evaluate`` on the terminal, in per cent."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from wsolrefine.cli.console import plain
from wsolrefine.cli.evaluate.protocol import Protocol
from wsolrefine.cli.evaluate.results import Results

CLASS_NAMES = {"top1": "Top-1", "top5": "Top-5", "gt_known": "GT-known"}
Row = tuple[str, str, str, str]


def show(console: Console, protocol: Protocol, results: Results, elsewhere: str | None) -> None:
    """Print the protocol and then the figures; ``elsewhere`` is the split that chose thresholds."""
    lines = Table.grid(padding=(0, 2))
    for question, answer in protocol.items():
        lines.add_row(question, plain(answer, console))
    console.print(lines)
    table = Table("figure")
    table.add_column("per cent", justify="right")
    table.add_column("threshold", justify="right")
    if elsewhere is not None:
        table.add_column("best here", justify="right")
        table.caption = plain(f"thresholds chosen on {elsewhere}", console)
    for row in rows(results, honest=elsewhere is not None):
        table.add_row(*row[: len(table.columns)])
    console.print(table)


def rows(results: Results, *, honest: bool) -> Iterator[Row]:
    """Yield name, value, threshold, and the value at this split's own best threshold.

    Only what is best on the evaluated split itself may be called a maximum.

    Example:
        >>> levels = {"iou": 0.5, "threshold": 63, "max_iou": 0.51, "average_precision": 0.6}
        >>> list(rows({"px_ap": 0.61234, "peak_iou": levels}, honest=True))[:2]
        [('PxAP', '61.23', '', ''), ('IoU', '50.00', '63 of 255', '51.00')]

    """
    top = "" if honest else "Max"
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
        name, best = "IoU" if honest else "Peak-IoU", _percent(found["max_iou"])
        yield name, _percent(found["iou"]), f"{found['threshold']} of 255", best
        yield "AP of grey levels", _percent(found["average_precision"]), "", ""
    if "boundary" in results:
        found = results["boundary"]
        yield "ODS", _percent(found["ods"]), f"{found['ods_threshold']:g}", ""
        yield "OIS", _percent(found["ois"]), "", ""
        yield "AP of edges", _percent(found["average_precision"]), "", ""
    if "localization" in results:
        at = f"{results['box_acc']['threshold']:g}"
        for key, value in results["classification"].items():
            yield f"{CLASS_NAMES[key]} classification", _percent(value), "", ""
        for key, value in results["localization"].items():
            yield f"{CLASS_NAMES[key]} localization", _percent(value), at, ""
        yield "Errors of the first box", "", at, ""
        for key, value in results["errors"].items():
            yield f"  {key.replace('_', ' ')}", _percent(value), "", ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
