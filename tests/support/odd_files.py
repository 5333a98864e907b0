"""What lies where a file is expected: pipes, sockets, devices, folders, and links to them."""

import contextlib
import os
import signal
import socket
from pathlib import Path

KINDS = ("pipe", "link to a pipe", "folder", "device", "socket")


def make(path, kind):
    """Put something that is no file at ``path``; return what is said of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        pipe = path.with_name("pipe")
        os.mkfifo(pipe)
        path.symlink_to(pipe)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        short = socket.socket(socket.AF_UNIX)
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        short.bind(path.name)
        os.chdir(before)
        short.close()
    return {"link to a pipe": "a named pipe", "pipe": "a named pipe"}.get(kind, f"a {kind}")


@contextlib.contextmanager
def time_limit(seconds):
    """Raise TimeoutError if the body takes longer, also where it waits for a pipe."""

    def stop(number, frame):
        raise TimeoutError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
