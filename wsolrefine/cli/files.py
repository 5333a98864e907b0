"""Atomic writing of files, left-over files of killed runs, a lock on folders, and SIGTERM."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

_TEMPORARY = re.compile(r"\.wsolrefine-tmp-\d+-\d+(\.[A-Za-z0-9]+)?")
_numbers = count()

MISSING = "no such file or folder"
"""What :func:`kind_of` returns where there is nothing."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` at the end.

    The folder is created if it is missing. If the body raises, the temporary file is removed and
    ``path`` is unchanged. If the process is killed, :func:`remove_temporary` finds the file by its
    name. The temporary name is short, so that it is never too long, hidden, so that a search for
    images does not find it, and never that of an existing file.

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
    temporary = _free_name(path)
    try:
        temporary.open("xb").close()  # in here, because Ctrl-C may come right after it
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _free_name(path: Path) -> Path:
    suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,16}", path.suffix) else ""
    while True:
        free = path.parent / f".wsolrefine-tmp-{os.getpid()}-{next(_numbers)}{suffix}"
        if not os.path.lexists(free):
            return free


def remove_temporary(*folders: Path) -> None:
    """Remove the temporary files that killed runs left in these folders, not below them.

    Call it only while the folder of the run is locked: another run may be writing.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in (".wsolrefine-tmp-12-3.png", ".tmp-of-the-user.png"):
        ...         (pathlib.Path(folder) / name).touch()
        ...     remove_temporary(pathlib.Path(folder))
        ...     [path.name for path in pathlib.Path(folder).iterdir()]
        ['.tmp-of-the-user.png']

    """
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if _TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    Path(entry.path).unlink(missing_ok=True)


def foreign_files(out: Path, names: Iterable[str], own: Iterable[str]) -> list[str]:
    """Return those of the files to be written that exist already and are not ours.

    Args:
        out: folder of the results.
        names: paths below it that are to be written.
        own: paths below it that an earlier run has written.

    """
    written = set(own)
    return [name for name in names if name not in written and os.path.lexists(out / name)]


def foreign_message(out: Path, names: list[str], shown: int = 5) -> str:
    """Return the error for files of the user that would be replaced."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (
        f"--out: expected a folder without other files of these names, got "
        f"{', '.join(names[:shown])}{more} in {out}, which this command has not written there; "
        "move them, or choose another folder"
    )


def kind_of(path: Path) -> str:
    """Return "folder", "file", or what else is there; unlike pathlib, this never raises.

    Example:
        >>> kind_of(Path.cwd()), kind_of(Path("missing")), kind_of(Path("x" * 5000))
        ('folder', 'no such file or folder', 'file name too long')

    """
    try:
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
        if path.exists():
            return "not a file"
        return "a broken link" if path.is_symlink() else MISSING
    except OSError as error:
        return (error.strerror or str(error)).lower()


def may(path: Path, mode: int) -> bool:
    """Tell whether the process may use a path as ``os.access`` has it."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def system_error(error: OSError) -> str:
    """Return an error of the system as ``file: reason``.

    Example:
        >>> system_error(PermissionError(13, "Permission denied", "run.json"))
        'run.json: Permission denied'

    """
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


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


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Pass over Ctrl-C and SIGTERM while something short is brought to its end.

    A user who presses Ctrl-C twice would otherwise stop what the first one has begun.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.ExitStack() as handlers:
        for number in (signal.SIGINT, signal.SIGTERM):
            # First how it is undone: a signal between these lines raises.
            handlers.callback(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda *_: None)
        yield
