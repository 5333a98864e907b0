"""Turn the Sphinx roles of the docstrings into links, and their examples into code blocks."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([\w.]+)`")


class References(griffe.Extension):
    """Rewrite each docstring before mkdocstrings parses it."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    def link(role: re.Match[str]) -> str:
        name = target = role[1]
        if "." not in name:
            # Where there is no such name, the name itself is a target that mkdocs warns of, with
            # page and line.
            with suppress(griffe.NameResolutionError):
                target = obj.resolve(name)
        return f"[`{name.removeprefix('wsolrefine.')}`][{target}]"

    if obj.docstring:
        text = ROLE.sub(link, obj.docstring.value)
        obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", text)
    for member in obj.members.values():
        if not member.is_alias:
            _rewrite(member)
