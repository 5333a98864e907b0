"""The scripts and notebooks of examples/ run as they stand, on photographs."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import photographs
from tests.support.small_transformers import clip

ROOT = Path(__file__).parents[2]
NAMES = ["coffee.png", "motorcycle_left.png"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photographs").mkdir()
    for name in NAMES:
        shutil.copy(photographs.FOLDER / name, tmp_path / "photographs" / name)
    return tmp_path / "photographs"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script in this process, with the classifier of the other tests."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.setattr("wsolrefine.load_classifier", photographs.classifier)
        with photographs.shared(monkeypatch):
            runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def run_alone(script, *arguments):
    """Run a script in a process of its own, as users do."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_own_classifier(run, folder):
    assert len((ROOT / "examples/own_classifier.py").read_text().splitlines()) <= 12
    lines = run("own_classifier.py", folder)
    assert [line.split()[0] for line in lines] == NAMES
    for line, name in zip(lines, NAMES, strict=True):
        x0, y0, x1, y1 = map(float, re.findall(r"[\d.]+", line.partition("[")[2]))
        true = np.array(photographs.BOXES[name])
        found = np.array([x0, y0, x1, y1])
        both = np.minimum(found, true)[2:] - np.maximum(found, true)[:2]
        union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (found, true)) - both.prod()
        assert both.prod() / union > 0.5


def test_pseudo_labels(run, folder, tmp_path):
    run("pseudo_labels.py", folder, tmp_path / "out")
    for name in NAMES:
        labels = Image.open((tmp_path / "out" / name).with_suffix(".png"))
        with Image.open(folder / name) as image:
            assert labels.size == image.size
        assert set(np.unique(labels)) <= {0, 1, 255}
        assert 0.05 < (np.asarray(labels) == 1).mean() < 0.9


def test_train_on_a_folder(folder, tmp_path):
    for name in NAMES:
        (tmp_path / "classes" / name.split("_")[0].split(".")[0]).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        kind = name.split("_")[0].split(".")[0]
        with Image.open(folder / name) as image:
            for turn in range(2):
                image.rotate(5 * turn + number).save(tmp_path / "classes" / kind / f"{turn}.png")
    *_, last = run_alone("train_on_a_folder.py", tmp_path / "classes", tmp_path / "run", 1)
    assert last.startswith("coffee/0.png ")
    assert (tmp_path / "run/spa.safetensors").is_file()


NOTEBOOKS = sorted(path.name for path in (ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(name, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    client = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    if name == "texts_as_classes.ipynb":
        transformers = pytest.importorskip(
            "transformers", reason="pip install 'wsolrefine[hf]'; not in the extra test"
        )
        monkeypatch.chdir(tmp_path)
        clip(transformers, "clip")
        monkeypatch.setenv("CLIP_MODEL", "model")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would grow old
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that run notebooks
        runner = client.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
        )
        runner.execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


def test_the_page_on_examples_lists_all():
    page = (ROOT / "docs/examples.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "examples").iterdir() if path.is_file()}
    assert set(re.findall(r"examples/([\w.]+)\)", page)) == files
