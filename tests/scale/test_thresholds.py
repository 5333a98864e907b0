"""``threshold`` without Ray: what it refuses, and processes that end with the one that began them."""

import sys
import time
from subprocess import PIPE, Popen

import pytest

from benchmarks.scale.processes import descendants, is_alive
from tests.support.command import run_command
from tests.support.processes import ROOT
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.record import Record, write_record
from wsolrefine.scale.store import Store

FACTS = Facts("files", 2, 9, False, None)
SETTINGS = {"threshold": 0.4, "parts": "largest", "maps": True}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maps": False}, "which were made with --no-maps"),
        ({"recipe": "sem_edges"}, "expected labels with masks, got"),
        ({}, "without 2 of its parts"),
    ],
)
def test_labels_that_have_no_masks_to_make(tmp_path, settings, message):
    write_record(Store(tmp_path / "a"), Record(SETTINGS | settings, "0" * 64, FACTS, "1.0"))
    printed = run_command("threshold", tmp_path / "a", "-t", 0.5, code=2)
    assert message in " ".join(printed.split())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


POOL = """
import os, signal, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from wsolrefine.scale.thresholds import _begin

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), _begin)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_killed_run_leaves_no_process(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    command = [sys.executable, tmp_path / "pool.py"]
    with Popen(command, stdout=PIPE, env={"PYTHONPATH": str(ROOT)}) as running:
        assert running.stdout.readline()  # its process is waiting for work
        below = descendants(running.pid)
        running.kill()
    assert below
    patience = time.monotonic() + 60
    while left := [process for process in below if is_alive(process)]:
        assert time.monotonic() < patience, left
        time.sleep(0.05)
