"""What the commands say, and how they stop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

Problems = list[tuple[str, str]]
"""What could not be used, and why."""


def plain(text: object, console: Console | None = None) -> Text:
    r"""Turn any text into one that every terminal can print as it is.

    File names may hold bytes that are no UTF-8, control characters, brackets that Rich would read
    as markup, or letters that the terminal's encoding lacks: none of them may stop a run.

    Example:
        >>> plain("[red]a\nb\udcff").plain
        '[red]a\\nb\\udcff'

    """
    shown = "".join(c if c.isprintable() else _escape(c) for c in str(text))
    encoding = console.encoding if console else "utf-8"
    return Text(shown.encode(encoding, "backslashreplace").decode(encoding))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def stop(message: object, code: int = 2) -> NoReturn:
    """Say in one line on standard error why nothing can be done, and end with an exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("Error: ", "bold red"), plain(message, console)))
    raise typer.Exit(code)


def summarize(
    finished: int, skipped: int, empty: int, repeated: int, left: int, results: Path
) -> None:
    """Say what a run did; ``left`` is what an interruption left undone, 0 if there was none."""
    console = Console(highlight=False, soft_wrap=True)
    counts = {
        "refined": finished,
        "skipped, done earlier (--overwrite does them again)": skipped,
        "without any object above the threshold": empty,
        "named more than once": repeated,
    }
    said = [f"{count} {what}" for what, count in counts.items() if count or what == "refined"]
    console.print("; ".join(said) + ".")
    if left:
        console.print(f"Stopped with {left} to go. The same command goes on from here.")
    if results.exists():
        console.print(Text.assemble("Results: ", plain(results, console)))


def list_problems(problems: Iterable[tuple[str, str]]) -> None:
    """Name everything that could not be used, one a line, on standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    lines = [
        Text.assemble("  ", plain(name, console), ": ", plain(reason, console))
        for name, reason in problems
    ]
    if lines:
        console.print(Text(f"{len(lines)} could not be used:", style="bold red"))
    for line in lines:
        console.print(line)
