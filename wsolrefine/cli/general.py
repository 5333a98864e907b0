"""``wsolrefine --version``, and ``--quiet``, which every command has."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from wsolrefine import __version__
from wsolrefine.cli.console import be_quiet

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"wsolrefine {__version__}")
        raise typer.Exit


def general(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that come before a command."""


def with_quiet(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that has ``--quiet`` too, which its function needs not know of."""
    given = inspect.signature(command, eval_str=True)
    quiet = inspect.Parameter(
        "quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet
    )

    @functools.wraps(command)
    def run(*, quiet: bool, **options: Any) -> None:
        be_quiet(quiet)
        command(**options)

    parameters = [*given.parameters.values(), quiet]
    run.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
