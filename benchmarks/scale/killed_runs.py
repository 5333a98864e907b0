"""Runs of ``wsolrefine label`` that are killed, or whose workers are, at random moments."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import show_progress
from benchmarks.scale.processes import Started, descendants, is_alive, workers

LIMIT = 60.0
"""Seconds after which no process of a killed run may be there."""


class Runs:
    """The runs of one command: an undisturbed one, and those that are killed.

    Args:
        photographs: folder of the images.
        options: more words of the command.
        seed: of the moments.

    """

    def __init__(self, photographs: Path, options: list[str], seed: int) -> None:
        self._command = [sys.executable, "-m", "wsolrefine", "label", str(photographs), *options]
        self._random = random.Random(seed)
        self.seconds = self.working = self._latest = 0.0
        self.kills: list[dict[str, Any]] = []

    def undisturbed(self, out: Path) -> None:
        """Label; note the seconds of all of it, and of that since there are workers."""
        begin = time.monotonic()
        with self._running(out) as run:
            _wait_for_workers(run)
            started = time.monotonic()
            self._end(run, out)
        self.seconds, self.working = time.monotonic() - begin, time.monotonic() - started
        self._latest = self.seconds

    def with_kills_of_the_driver(self, out: Path, most: int) -> None:
        """Label with so many kills at most: a run may have ended before one of them.

        Then a whole run takes less time now than it did, and the next moments come earlier.
        """
        for number in range(most):
            moment = self._random.uniform(0, self._latest)
            begin = time.monotonic()
            with self._running(out) as run:
                try:
                    run.wait(moment)
                except subprocess.TimeoutExpired:
                    below = descendants(run.pid)
                    run.kill()
                    run.wait()
                    self._note("driver", moment, out, **_end_of(below))
                else:
                    self._end(run, out)
                    if number == 0:  # all of the work, not the rest of a killed run
                        self._latest = time.monotonic() - begin
                    return
        with self._running(out) as run:
            self._end(run, out)

    def with_kills_of_workers(self, out: Path, most: int) -> None:
        """Label while all workers are killed at so many moments at most."""
        moments = sorted(self._random.uniform(0, self.working) for _ in range(most))
        with self._running(out) as run:
            _wait_for_workers(run)
            begin = time.monotonic()
            for moment in moments:
                time.sleep(max(0.0, begin + moment - time.monotonic()))
                for number in _wait_for_workers(run):
                    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(number, signal.SIGKILL)
                        self._note("worker", time.monotonic() - begin, out)
            self._end(run, out)

    @contextlib.contextmanager
    def _running(self, out: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Yield the command at work; it does not outlast the context."""
        with _log(out).open("ab") as log:
            command = [*self._command, "--out", str(out)]
            run = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield run
        finally:
            run.kill()
            run.wait()

    def _end(self, run: subprocess.Popen[bytes], out: Path) -> None:
        if code := run.wait():
            said = _log(out).read_text("utf-8", "replace")
            raise RuntimeError(f"expected label to end with 0, got {code}: {said}")

    def _note(self, killed: str, seconds: float, out: Path, **more: float) -> None:
        parts = len([*out.glob("labels/*.parquet")])
        self.kills.append({"killed": killed, "after": round(seconds, 2), "parts": parts, **more})
        show_progress("kills", len(self.kills), len(self.kills))


def _log(out: Path) -> Path:
    return out.with_name(f"{out.name}.log")


def _wait_for_workers(run: subprocess.Popen[bytes]) -> list[int]:
    """Return the workers of a run as soon as there are any; none if it has ended."""
    found: list[int] = []
    while not found and run.poll() is None:
        time.sleep(0.02)
        found = workers(run.pid)
    return found


def _end_of(processes: list[Started]) -> dict[str, float]:
    """Return how many processes are still there after a while, and how long the others took."""
    begin = time.monotonic()
    while (left := [p for p in processes if is_alive(p)]) and time.monotonic() - begin < LIMIT:
        time.sleep(0.05)
    return {"left": len(left), "ended in": round(time.monotonic() - begin, 2)}
