"""Processes of a run of Ray, as Linux lists them in /proc."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Started(NamedTuple):
    """A process: its number, which another one may get later, and when it was started."""

    number: int
    time: int


def descendants(driver: int) -> list[Started]:
    """Return the processes that a process has started, and those that these have started."""
    parents: dict[int, list[Started]] = {}
    for folder in PROC.glob("[0-9]*"):
        if (found := _status(int(folder.name))) is not None:
            process, parent = found
            parents.setdefault(parent, []).append(process)
    below: list[Started] = []
    waiting = [driver]
    while waiting:
        children = parents.get(waiting.pop(), [])
        below += children
        waiting += [child.number for child in children]
    return below


def is_alive(process: Started) -> bool:
    """Tell whether a process has not ended."""
    found = _status(process.number)
    return found is not None and found[0] == process


def workers(driver: int) -> list[int]:
    """Return the numbers of the processes of Ray that label for a driver."""
    found = []
    for process in descendants(driver):
        try:
            title = (PROC / str(process.number) / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if title.startswith(b"ray::") and b"Labeling" in title:
            found.append(process.number)
    return found


def _status(number: int) -> tuple[Started, int] | None:
    """Return a process and the number of its parent; None if it has ended."""
    try:
        fields = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, parent, time = fields[0], int(fields[1]), int(fields[19])
    return None if state in "ZX" else (Started(number, time), parent)
