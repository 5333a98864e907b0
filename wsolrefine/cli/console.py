"""Messages of the commands, and how they stop."""

from __future__ import annotations

import contextlib
import difflib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

Problems = list[tuple[str, str]]
"""Pairs of a name and the reason why it could not be used."""


def printable(text: object, console: Console | None = None) -> Text:
    r"""Escape what a terminal cannot print.

    A file name may contain bytes that are not UTF-8, control characters, brackets that Rich would
    read as markup, or letters missing in the terminal's encoding. None of these may stop a run.

    Example:
        >>> printable("[red]a\nb\udcff").plain
        '[red]a\\nb\\udcff'

    """
    shown = "".join(c if c.isprintable() else _escape(c) for c in str(text))
    encoding = console.encoding if console else "utf-8"
    return Text(shown.encode(encoding, "backslashreplace").decode(encoding))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def similar_names(name: str, known: Iterable[str]) -> str:
    """Return a hint for an error message with the names similar to an unknown one, or "".

    Example:
        >>> similar_names("cam_epoch", ["cam_epochs", "gamma"])
        " (close: 'cam_epochs')"

    """
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" (close: {', '.join(map(repr, close))})" if close else ""


class _Unstoppable(io.TextIOBase):
    """Standard error, whose failure is passed over: a full disk for messages may not stop a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


_quiet = False


def be_quiet(value: bool) -> None:
    """Set whether :func:`output_console` and progress bars show anything."""
    global _quiet
    _quiet = value


def is_quiet() -> bool:
    """Tell whether only errors are printed."""
    return _quiet


def output_console(*, soft_wrap: bool = False) -> Console:
    """Return a console on standard output, which prints nothing with ``--quiet``.

    Args:
        soft_wrap: lines are not broken at the width of the terminal.

    """
    return Console(highlight=False, soft_wrap=soft_wrap, quiet=_quiet)


def error_console(*, soft_wrap: bool = True) -> Console:
    """Return a console on standard error that raises no error of the system.

    Args:
        soft_wrap: lines are not broken at the width of the terminal.

    """
    # Without one, as in a program without a console, rich prints nothing.
    file = None if sys.stderr is None else cast(TextIO, _Unstoppable(sys.stderr))
    return Console(file=file, stderr=True, highlight=False, soft_wrap=soft_wrap)


def stop(message: object, code: int = 2) -> NoReturn:
    """Print an error in one line on standard error, and exit with a code."""
    console = error_console()
    console.print(Text.assemble(("Error: ", "bold red"), printable(message, console)))
    raise typer.Exit(code)


@contextmanager
def progress_bar(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error; yield the function that advances it."""
    console = error_console(soft_wrap=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=_quiet) as progress:
        name = progress.add_task(str(printable(task, console)), total=total)
        yield partial(progress.advance, name)


def list_problems(problems: Iterable[tuple[str, str]]) -> None:
    """List everything that could not be used on standard error, one per line."""
    console = error_console()
    lines = [
        Text.assemble("  ", printable(name, console), ": ", printable(reason, console))
        for name, reason in problems
    ]
    if lines:
        console.print(Text(f"{len(lines)} could not be used:", style="bold red"))
    for line in lines:
        console.print(line)
