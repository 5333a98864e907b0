"""The command starts Ray by itself: where, with whose code, and what is left of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from tests.scale import sources as made

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


def left_of(folder):
    """Return the processes that were started from a folder, or by one that was."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            alive = "(zombie)" not in (process / "status").read_text()
        except OSError:
            continue
        if os.fsencode(f"WSOLREFINE_TEST={folder}") in environment and alive:
            found.append(process.name)
    return found


def test_workers_have_the_users_model_and_no_other_code_of_the_working_folder(tmp_path):
    made.write_folder(tmp_path / "photos")
    (tmp_path / "my_models.py").write_text(OWN)
    for name in ("torch", "numpy", "PIL", "ray", "pyarrow", "pandas", "psutil"):
        code = (
            f"from pathlib import Path; Path({str(tmp_path / 'run')!r}).touch(); raise SystemExit"
        )
        (tmp_path / f"{name}.py").write_text(code)
    command = [sys.executable, "-m", "wsolrefine", "label", "photos", "--out", "labels"]
    options = ["--model", "my_models:own", "--method", "cam", "--workers", "1", "--devices", "0"]
    environment = os.environ | {"WSOLREFINE_TEST": str(tmp_path)}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pq.read_table(tmp_path / "labels/labels").to_pylist()
    assert len(rows) == 5
    assert {row["error"] for row in rows} == {None}
    assert {row["class_name"] for row in rows} <= {"cat", "dog"}
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in done.stderr
    assert ".cc:" not in done.stderr  # a message of Ray's core
    patience = time.monotonic() + 60
    while left := left_of(tmp_path):  # Ray stops its processes, and does not wait for them
        assert time.monotonic() < patience, left
        time.sleep(0.1)
