"""Reading files that a user or a list names: regular files only, of bounded size."""

from __future__ import annotations

import json
import os
import stat
from io import BufferedReader
from os import PathLike
from typing import Any, NoReturn

MAX_TEXT = 2**31
"""Bytes of the largest text file that is read. Lists of ten million images are smaller."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFile(OSError):  # noqa: N818 - nothing failed, the path leads to something else
    """A path leads to a folder, a pipe, a socket or a device instead of a file.

    Args:
        path: the path.
        kind: what is there.

    """

    def __init__(self, path: str | PathLike[str], kind: str) -> None:
        super().__init__(f"{os.fspath(path)}: expected a file, got {kind}")
        self.path, self.kind = path, kind

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.kind)


def open_regular(path: str | PathLike[str]) -> BufferedReader:
    """Open a regular file for reading, also through links.

    Opening a named pipe waits for a writer, and reading a device may never end, so that neither is
    opened: the path is checked first, and once more after it is open, without waiting in between.

    Raises:
        OSError: there is no such file, it may not be read, or it is no regular file.

    Example:
        >>> import tempfile
        >>> try:
        ...     open_regular(tempfile.gettempdir())
        ... except OSError as error:
        ...     print(str(error).removeprefix(tempfile.gettempdir()))
        : expected a file, got a folder

    """
    try:
        _check_kind(path, os.stat(path).st_mode)  # noqa: PTH116 - a path may be text
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    except ValueError as error:  # a null byte in the path
        raise OSError(f"{os.fspath(path)!r}: expected a file, got a path with {error}") from None
    try:
        _check_kind(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_kind(path: str | PathLike[str], mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFile(path, _KINDS.get(stat.S_IFMT(mode), "something else"))


def read_bytes(path: str | PathLike[str], limit: int = MAX_TEXT) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more bytes than ``limit``.

    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if max(size, len(content)) > limit:
        got = max(size, len(content))
        raise ValueError(f"{os.fspath(path)}: expected at most {limit:,} bytes, got {got:,}")
    return content


def read_json(path: str | PathLike[str]) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON; numbers must be finite, and nesting is limited.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "run.json"
        >>> _ = file.write_text('{"epochs": 3}')
        >>> read_json(file)
        {'epochs': 3}

    """
    content = read_bytes(path)
    try:
        return json.loads(content, parse_constant=not_finite, parse_float=finite_float)
    except RecursionError:
        got = "brackets nested too deeply"
    except UnicodeDecodeError:
        got = "text that is not UTF-8"
    except ValueError as error:  # also an integer of too many digits
        got = str(error)
    raise ValueError(f"{os.fspath(path)}: expected JSON, got {got}")


def not_finite(text: str) -> NoReturn:
    """Raise ValueError: JSON has no such number. A ``parse_constant`` of :mod:`json`."""
    raise ValueError(f"the number {text}")


def finite_float(text: str) -> float:
    """Return a number, or raise where it is too large. A ``parse_float`` of :mod:`json`."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        not_finite(text[:20])
    return value
