"""Options of the commands for whole data sets."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from wsolrefine.cli.console import stop


def parse_address(text: str) -> str:
    """Return a path or an address; an empty one would be the working folder.

    Raises:
        BadParameter: it is empty, as an unset variable of the shell is, or no path at all.

    """
    if not text.strip() or "\0" in text:
        raise typer.BadParameter(f"expected a path or an address, got {text!r}")
    return text


Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        parser=parse_address,
        metavar="FOLDER",
        help="Folder or address for the results, created if missing.",
    ),
]


def require_scale(command: str) -> None:
    """Stop if a package of the extra ``scale`` is missing."""
    for name in ("ray", "pyarrow"):
        if find_spec(name) is None:
            stop(f"{command} needs the package {name}: pip install 'wsolrefine[scale]'", 1)
