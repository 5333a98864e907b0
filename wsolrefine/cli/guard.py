"""What every command does with Ctrl-C, errors of the system, and packages that are broken."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from typer.core import TyperGroup

from wsolrefine._command import stop_at_once
from wsolrefine.cli.console import be_quiet, stop
from wsolrefine.cli.files import system_error

DIGITS = 5
"""Of the largest size of a terminal: rich fills lines of tables with blanks."""


class Guarded(TyperGroup):
    """The commands: what comes from the system or from a broken package is one line.

    A traceback is left for errors of wsolrefine itself.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line."""
        forget_wrong_sizes()
        return super().main(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        be_quiet(False)  # until an option says so
        started = signal.getsignal(signal.SIGINT) is stop_at_once  # else it is not the process
        if started:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with drawing_to_files():
                ignore_configuration()
                return super().invoke(ctx)
        except KeyboardInterrupt:
            stop("stopped", 130)
        except BrokenPipeError:  # the reader of the output has ended
            raise
        except Exception as error:
            if (package := broken_package(error)) is not None:
                reason = (str(error).splitlines() or [""])[0]
                kind = type(error).__name__
                stop(f"the package {package} cannot be imported ({kind}: {reason})", 1)
            if isinstance(error, OSError):
                stop(system_error(error), 1)
            raise
        finally:
            if started:
                signal.signal(signal.SIGINT, stop_at_once)


def forget_wrong_sizes() -> None:
    """Remove sizes of the terminal that are none: with 0 rich prints nothing, with others it fails.

    It tests them with ``isdigit``, which is also true for a superscript.
    """
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name, "1")
        if not (value.isdecimal() and len(value) <= DIGITS and int(value)):
            del os.environ[name]


@contextlib.contextmanager
def drawing_to_files() -> Iterator[None]:
    """Keep MPLBACKEND from matplotlib, which fails to be imported if this names no backend.

    The commands draw to files only, so they need no backend that may not be there either.
    """
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MPLBACKEND", None)
        else:
            os.environ["MPLBACKEND"] = before


def ignore_configuration() -> None:
    """Keep libraries from the settings that they would read in the working folder.

    matplotlib reads ``matplotlibrc`` there when it is imported, which may make it call LaTeX. numba
    reads ``.numba_config.yaml`` whenever it compiles, which may name a folder of compiled code.
    """
    if os.path.lexists("matplotlibrc") and "matplotlib" not in sys.modules:
        with contextlib.chdir(Path(__file__).parent), contextlib.suppress(ImportError):
            import_module("matplotlib")
    if os.path.lexists(".numba_config.yaml") and "numba" not in sys.modules:
        sys.modules["numba"] = None  # type: ignore[assignment]
        note = "Note: numba is not used, because the working folder has a .numba_config.yaml"
        Console(stderr=True, highlight=False, soft_wrap=True).print(note)


def broken_package(error: BaseException) -> str | None:
    """Return the package whose import failed with this error; None if no import failed."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and package not in ("wsolrefine", "__main__"):
            return package
    if isinstance(error, ImportError) and error.name:
        package = error.name.partition(".")[0]
        return None if package == "wsolrefine" else package
    return None
