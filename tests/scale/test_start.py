"""The command starts Ray by itself: where, with whose code, and what is left of it."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from benchmarks.scale.processes import descendants, is_alive, workers
from tests.scale import sources as made
from tests.support.processes import ROOT
from wsolrefine.scale.cluster import _own_termination

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

OWN = """
import torch
from torch import nn
from wsolrefine import Classifier, Preprocess

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.layer(images).relu().mean((-2, -1)))

def own():
    return Classifier(Net().eval(), Preprocess((32, 32)), ["cat", "dog"], "own")
"""


@pytest.fixture
def label(tmp_path):
    """Start the command in a folder of its own, which holds traps; it does not outlast the test."""
    made.write_folder(tmp_path / "photos", 12)
    (tmp_path / "my_models.py").write_text(OWN)
    for name in ("torch", "numpy", "PIL", "ray", "pyarrow", "pandas", "psutil"):
        code = (
            f"from pathlib import Path; Path({str(tmp_path / 'run')!r}).touch(); raise SystemExit"
        )
        (tmp_path / f"{name}.py").write_text(code)
    command = [sys.executable, "-m", "wsolrefine", "label", "photos", "--out", "labels"]
    options = ["--model", "my_models:own", "--method", "cam", "--workers", "1", "--devices", "0"]
    small = ["--batch-size", "1", "--part-size", "2"]
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    started = []

    def start():
        started.append(
            subprocess.Popen(
                [*command, *options, *small],
                cwd=tmp_path,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield start
    for running in started:
        running.kill()
        running.communicate()


def assert_ended(processes):
    """Ray stops its processes, and does not wait for them. Some see only after a minute that they
    should stop.
    """
    patience = time.monotonic() + 150
    while left := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < patience, left
        time.sleep(0.1)


def wait_for(condition):
    patience = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < patience
        time.sleep(0.02)
    return found


def test_the_command_alone_and_after_a_kill(label, tmp_path):
    """Workers have the user's model and no other code of the working folder; nothing stays."""
    killed = label()
    wait_for(lambda: killed.poll() is not None or [*tmp_path.glob("labels/labels/*.parquet")])
    below = descendants(killed.pid)
    killed.kill()
    killed.wait()
    assert below
    assert_ended(below)
    running = label()
    wait_for(lambda: running.poll() is not None or workers(running.pid))
    below = descendants(running.pid)
    said, wrong = running.communicate(timeout=300)
    assert running.returncode == 0, said + wrong
    rows = pq.read_table(tmp_path / "labels/labels").to_pylist()
    assert sorted(row["id"] for row in rows) == sorted(made.names_of(12))
    assert {row["error"] for row in rows} == {None}
    assert {row["class_name"] for row in rows} <= {"cat", "dog"}
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in wrong
    assert ".cc:" not in wrong  # a message of Ray's core
    assert_ended(below)


def test_ray_does_not_take_over_what_sigterm_does():
    before = signal.getsignal(signal.SIGTERM)
    with _own_termination():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as ray.init does
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(KeyboardInterrupt), _own_termination():
        raise SystemExit(1)  # on a SIGTERM while it starts
