"""What ``refine`` prints at the end."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from wsolrefine.cli.console import output_console, printable


def summarize(
    finished: int, skipped: int, empty: int, repeated: int, left: int, results: Path
) -> None:
    """Print what a run of ``refine`` did.

    Args:
        finished: number of refined images.
        skipped: images that an earlier run has refined.
        empty: refined images without a mask.
        repeated: images given more than once.
        left: images that an interruption left undone; 0 if there was none.
        results: the results file.

    """
    console = output_console(soft_wrap=True)
    counts = {
        "refined": finished,
        "skipped, already done (--overwrite recomputes them)": skipped,
        "without a pixel above the threshold": empty,
        "given more than once": repeated,
    }
    shown = [f"{count} {what}" for what, count in counts.items() if count or what == "refined"]
    console.print("; ".join(shown) + ".")
    if left:
        console.print(f"Stopped with {left} left. Run the same command again to continue.")
    if results.exists():
        console.print(Text.assemble("Results: ", printable(results, console)))
