"""The page: one file with everything in it, or a small one with pictures and maps beside it."""

from __future__ import annotations

import contextlib
import html
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from wsolrefine.cli.report.content import script_json

SCRIPTS = ("rule.js", "instances.js", "assets.js", "charts.js", "grid.js", "large.js")

MARK = '<meta name="generator" content="wsolrefine report">'
"""Near the start of every page, to tell it from a user's own file."""


def is_report(path: Path) -> bool:
    """Tell whether a file is a page that this command has written."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return MARK.encode("ascii") in file.read(400)
    return False


def head(title: str, *, folder: bool) -> bytes:
    """Return the page up to the assets.

    Args:
        title: of the page.
        folder: whether pictures and maps lie beside the page.

    """
    text = _read("page.html").partition("@ASSETS@")[0]
    policy = ("data: 'self' file:", " 'self' file:") if folder else ("data:", "")
    for name, value in zip(("@IMAGES@", "@SCRIPTS@"), policy, strict=True):
        text = text.replace(name, value)
    text = text.replace("@STYLE@", _read("page.css")).replace("@TITLE@", html.escape(title))
    return text.encode("utf-8", "replace")


def foot(content: Mapping[str, Any]) -> bytes:
    """Return the page from the assets on.

    Args:
        content: see :func:`wsolrefine.cli.report.content.content`.

    """
    before, _, after = _read("page.html").partition("@ASSETS@")[2].partition("@CONTENT@")
    code = "".join(map(_read, SCRIPTS))
    return "".join([before, script_json(content), after.replace("@CODE@", code)]).encode("utf-8")


def _read(name: str) -> str:
    return (files("wsolrefine.cli.report") / name).read_text("utf-8")


def embedded(name: str, content: bytes) -> bytes:
    """Return an asset as a part of the page: a script of a type that no browser runs."""
    return b'<script type="text/plain" id="%s">%s</script>\n' % (
        name.encode("ascii"),
        b64encode(content),
    )


def asset_file(name: str) -> str:
    """Return the path of an asset beside the page.

    A page that is opened from disk may show pictures beside it, but not read their pixels or other
    files: a map is a script that passes itself to the page.

    Example:
        >>> asset_file("picture-3"), asset_file("map-3-0")
        ('pictures/3.jpg', 'maps/3-0.js')

    """
    kind, _, number = name.partition("-")
    return f"pictures/{number}.jpg" if kind == "picture" else f"maps/{number}.js"


def asset_bytes(name: str, content: bytes) -> bytes:
    """Return the content of the file of an asset."""
    if name.startswith("picture-"):
        return content
    return b'Report.mapArrived("%s","%s");\n' % (name.encode("ascii"), b64encode(content))
