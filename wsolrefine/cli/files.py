"""Atomic writing of files, a lock on folders, and SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_numbers = count()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` at the end.

    The folder is created if it is missing. If the body raises, the temporary file is removed and
    ``path`` is unchanged. The temporary name is short, so that it is never too long, and hidden, so
    that a search for images does not find it.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = pathlib.Path(folder) / "deep" / "note.txt"
        ...     with replacing(target) as temporary:
        ...         _ = temporary.write_text("done")
        ...     target.read_text(), len(list(target.parent.iterdir()))
        ('done', 1)

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".tmp-{os.getpid()}-{next(_numbers)}{path.suffix}"
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


class FolderInUse(Exception):  # noqa: N818 - not an error of the program
    """Another run is writing to the folder."""


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs. The lock ends with the process; no effect on Windows.

    Raises:
        FolderInUse: another process has locked the folder.

    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderInUse from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, which batch systems send, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
