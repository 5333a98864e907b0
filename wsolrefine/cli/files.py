"""Writing files so that nobody ever sees half of one."""

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
    """Yield a temporary name in the folder of ``path``; rename it to ``path`` at the end.

    The folder is made if it is missing. If the body raises, the temporary file is removed and
    whatever ``path`` held before stays. The temporary name is short and hidden whatever ``path``
    is called, so that long names do not become too long and folder walks do not pick it up.

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


class InUse(Exception):  # noqa: N818 - no error of the program
    """Another run is writing to the folder."""


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; a run that dies lets go of it. Without effect on Windows.

    Raises:
        InUse: another process holds the folder.

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
                raise InUse from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, which batch systems send, stop a run as gently as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
