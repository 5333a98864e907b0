"""Runs of the command that are killed (SIGKILL) at chosen moments, in processes of their own.

The processes are forked from one that has imported everything, so a moment is relative to the start
of the work and a run takes a second or two.
"""

import itertools
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import torch

import wsolrefine.cli.demo.photograph
import wsolrefine.cli.evaluate.pipeline
import wsolrefine.cli.label.run
import wsolrefine.cli.refine.loop
import wsolrefine.cli.train.pipeline
from tests.support.processes import PROCESSES, start
from wsolrefine._command import stop_at_once
from wsolrefine.cli import app

COMMANDS = (
    wsolrefine.cli.demo.photograph,
    wsolrefine.cli.evaluate.pipeline,
    wsolrefine.cli.label.run,
    wsolrefine.cli.refine.loop,
    wsolrefine.cli.train.pipeline,
)
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link", "os.truncate")
LIMIT = 300
"""Seconds that one run may take."""


class Moment(NamedTuple):
    """When a run is killed: after a time, or shortly after a change of a file is begun.

    Without a delay the signal comes twice, as from a user who presses Ctrl-C again.
    """

    seconds: float | None = None
    change: int | None = None
    delay: float = 0.0
    sent: int = signal.SIGKILL


class Ended(NamedTuple):
    """How a run ended: its exit code (-9 if it was killed), its output, time and changes."""

    code: int
    said: str
    seconds: float
    changes: int
    phase: str


NEVER = Moment()


def run(arguments, folder, moment=NEVER, largest=None, meanwhile=None, **patches):
    """Run the command in a process of its own, and kill it at a moment.

    Args:
        arguments: words of the command.
        folder: folder that it writes to.
        moment: when to kill it; never by default.
        largest: largest size of a file in bytes, as of a full disk; None: any.
        meanwhile: called with the number of the process while it runs.
        patches: attributes to set first, by their full name with ``__`` instead of dots.

    """
    descriptor, log = tempfile.mkstemp(suffix=".log")  # not beside the folder: its disk may be full
    os.close(descriptor)
    started, changes = PROCESSES.Event(), PROCESSES.Value("i", 0)
    process = PROCESSES.Process(
        target=_work, args=(arguments, folder, moment, largest, patches, log, started, changes)
    )
    start(process)
    while not started.wait(0.1) and process.is_alive():
        continue
    begin = time.monotonic()
    try:
        if meanwhile is not None:
            meanwhile(process.pid)
        process.join(LIMIT if moment.seconds is None else moment.seconds)
        if moment.seconds is not None and process.exitcode is None:
            os.kill(process.pid, moment.sent)
            process.join(LIMIT)
        assert process.exitcode is not None, f"still running after {LIMIT} s: {arguments}"
    finally:
        if process.exitcode is None:  # else it would go on after the test
            process.kill()
            process.join()
    seconds, said = time.monotonic() - begin, Path(log).read_text("utf-8", "replace")
    Path(log).unlink()
    phase = said.rpartition("KILL ")[2] if "KILL " in said else f"after {seconds:.2f} s"
    return Ended(process.exitcode, said, seconds, changes.value, phase.strip())


def _work(arguments, folder, moment, largest, patches, log, started, changes):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    for name, value in patches.items():
        module, _, attribute = name.replace("__", ".").rpartition(".")
        setattr(sys.modules[module], attribute, value)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    numbers, place = itertools.count(1), str(folder)

    def watch(event, values):
        if event not in CHANGES or not any(place in str(value) for value in values[:2]):
            return
        if event == "open" and not (values[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        changes.value = number = next(numbers)
        if number == moment.change:
            name = os.path.relpath(os.fspath(values[0]), folder)
            os.write(descriptor, f"KILL at {event} {name} + {moment.delay:.4f} s".encode())
            if not moment.delay:
                os.kill(os.getpid(), moment.sent)
            threading.Timer(moment.delay, os.kill, (os.getpid(), moment.sent)).start()

    sys.addaudithook(watch)
    signal.signal(signal.SIGINT, stop_at_once)  # as in the command's own process
    started.set()
    sys.argv = ["wsolrefine", *map(str, arguments)]
    app()


def random_moment(generator, whole, sent):
    """Return a moment within a run like ``whole``, half of them while a file is changed."""
    if generator.random() < 0.5:
        return Moment(seconds=generator.uniform(0, whole.seconds), sent=sent)
    delay = generator.choice((0, 0, generator.uniform(0, 0.003)))
    return Moment(change=generator.randint(1, whole.changes), delay=delay, sent=sent)


def contents(folder):
    """Return what is in a folder, hidden files too, by path."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(Path(folder).rglob("*"))}
    return {name: path.read_bytes() for name, path in found.items() if not path.is_dir()}


def kill_and_continue(
    begin, go_on, base, compare, *, kills, sent=signal.SIGKILL, seed=0, in_a_row=3, **patches
):
    """Kill runs at random moments and continue them; compare each with an uninterrupted one.

    Args:
        begin: folder -> words of the command that begins a run there.
        go_on: folder -> words of the command that continues it.
        base: an empty folder.
        compare: called with what is in the folders of the uninterrupted and of the killed run.
        kills: how many there are in all.
        sent: the signal.
        seed: seed of the moments; WSOLREFINE_KILLS is added, to look at others.
        in_a_row: how often one run is killed at most.
        patches: see :func:`run`.

    """
    generator = random.Random(seed + int(os.environ.get("WSOLREFINE_KILLS", "0")))
    whole = run(begin(base / "whole"), base / "whole", **patches)
    assert whole.code == 0, whole.said
    sys.stdout.write(f"uninterrupted: {whole.seconds:.2f} s, {whole.changes} changes of files\n")
    stopped = (-sent, 130)  # 130 if the command has heard the signal
    killed = 0
    for number in itertools.count():
        folder, command = base / str(number), begin
        for _ in range(min(in_a_row, kills - killed)):
            moment = random_moment(generator, whole, sent)
            ended = run(command(folder), folder, moment, **patches)
            if ended.code not in stopped:  # it was done before
                break
            assert "Traceback" not in ended.said, ended.said
            killed += 1
            left = f"left: {len(contents(folder))} files"
            sys.stdout.write(f"kill {killed} of {kills}: {ended.phase}; {left}\n")
            command = go_on
        if ended.code in stopped:
            ended = run(command(folder), folder, **patches)
        assert ended.code == 0, ended.said
        compare(contents(base / "whole"), contents(folder))
        sys.stdout.write(f"run {number}: equal to the uninterrupted one\n")
        if killed == kills:
            return
