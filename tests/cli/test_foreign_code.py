"""Nothing of the working folder runs but the module that the user names, while it is imported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.processes import ROOT
from wsolrefine.cli import loading

MODEL = """
import sys
from torch import nn

def build():
    import helper_of_mine  # imported at the top of neighbors.py already
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))

import helper_of_mine
"""

RECORD = """
import json, sys
names = set()

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if path is None:
            names.add(name.partition(".")[0])

sys.meta_path.insert(0, Recorder())
sys.path.insert(0, {root!r})
sys.path.append({folder!r})
from wsolrefine.cli import app
for arguments in {commands!r}:
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
print("NAMES" + json.dumps(sorted(names)))
"""


def commands(out):
    lists = ["-d", "wsolevaluation", "--metadata", "lists", "--root", "photos"]
    model = ["--model", "my_models:build"]
    train = ["--backbone", "my_models:build", "-d", "folder", "--root", "classes", "--size", "32"]
    return [
        ["refine", "photos", *model, "--out", f"{out}-refined"],
        ["refine", "photos", "--out", f"{out}-default"],
        ["evaluate", *lists, *model, "--size", "32", "--step", "0.1", "--out", f"{out}-evaluated"],
        ["train", "csoa", *train, "--crop", "32", "--set", "epochs=1", "--set", "width=8",
         "--set", "stage=-1", "--set", "auxiliary_stage=-2", "--out", f"{out}-trained"],
        ["refine", "photos", *model, "--recipe", f"{out}-trained/csoa.safetensors",
         "--out", f"{out}-recipe"],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder: photographs, lists, a model, and a decoy of all that the commands look for."""
    folder = tmp_path_factory.mktemp("working")
    random = np.random.default_rng(0)
    for name in ("photos/a.png", "photos/b.png", "classes/x/a.png", "classes/y/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / name)
    lists = {
        "image_ids": "{0}\n",
        "class_labels": "{0},1\n",
        "image_sizes": "{0},40,40\n",
        "localization": "{0},3,3,30,30\n",
    }
    (folder / "lists").mkdir()
    for name, line in lists.items():
        text = "".join(line.format(image) for image in ("a.png", "b.png"))
        (folder / "lists" / f"{name}.txt").write_text(text)
    (folder / "my_models.py").write_text(MODEL)
    (folder / "helper_of_mine.py").write_text("")
    done = _python(
        ["-c", RECORD.format(root=str(ROOT), folder=str(folder), commands=commands("before"))],
        folder,
    )
    names = set(json.loads(done.stdout.rsplit("NAMES", 1)[1]))
    assert {"torch", "numpy", "PIL", "rich", "lightning"} <= names
    names |= {"cython", "mpi4py", "tabulate", "sitecustomize", "usercustomize", "multiprocessing"}
    for name in names - {"my_models", "helper_of_mine", "wsolrefine", "__main__"}:
        (folder / f"{name}.py").write_text(
            f"import os\nos.mkdir({str(folder / 'ran')!r} + '-' + {name!r})\nraise ImportError\n"
        )
    (folder / "decoys").write_text(str(len(names)))
    return folder


def _python(arguments, folder, **environment):
    inherited = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def ran(folder):
    return sorted(path.name.removeprefix("ran-") for path in folder.glob("ran-*"))


SCRIPT = """
import sys
from wsolrefine.cli import app

for arguments in {commands!r}:
    before = list(sys.path)
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    assert sys.path == before
"""


def test_no_file_of_the_working_folder_runs_as_a_library(folder):
    assert int((folder / "decoys").read_text()) > 100
    # In the working folder itself, which a script's place in it puts in front of the search path.
    (folder / "wsolrefine").write_text(SCRIPT.format(commands=commands("after")))
    done = _python(["wsolrefine"], folder)
    (folder / "wsolrefine").unlink()
    assert done.returncode == 0, done.stderr
    assert ran(folder) == []
    for out in ("refined", "default", "evaluated", "trained", "recipe"):
        assert (folder / f"after-{out}").is_dir()


REFINE = ["refine", "photos", "--model", "my_models:build", "--out", "out"]


# The search path is set once, so that one entry is tried with all that a command imports later.
@pytest.mark.parametrize(
    ("entry", "command"),
    [(None, ["--help"]), ("", REFINE), (".", ["--help"]), ("./", ["--help"])],
)
def test_neither_with_python_m_nor_with_an_empty_entry_of_pythonpath(
    folder, tmp_path, entry, command
):
    # What Python itself looks for in a working folder, before it comes to wsolrefine, is its own.
    known = _python(["-c", "import runpy, sys; print(*sys.modules)"], tmp_path).stdout.split()
    spared = {name.partition(".")[0] for name in known} | {"sitecustomize", "usercustomize"}
    for path in folder.iterdir():
        if path.stem not in spared and path.name != "wsolrefine.py":
            (tmp_path / path.name).symlink_to(path)
    path = str(ROOT) if entry is None else f"{ROOT}{os.pathsep}{entry}"
    done = _python(["-m", "wsolrefine", *command], tmp_path, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert ran(folder) == []
    assert (tmp_path / "out").is_dir() or command == ["--help"]


def test_no_library_takes_settings_from_the_working_folder(folder, tmp_path):
    for name in ("photos", "lists", "my_models.py", "helper_of_mine.py"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\n\xff\xfe")
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: theirs\nnot_known: 1\n")
    done = _python(["-m", "wsolrefine", *commands("out")[2]], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "numba is not used" in done.stderr
    assert not (tmp_path / "theirs").exists()
    assert (tmp_path / "out-evaluated/box_accuracy.png").is_file()


def test_a_working_folder_that_was_deleted_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    code = (
        "import os, runpy, sys\nos.rmdir(os.getcwd())\nsys.argv[0] = 'wsolrefine'\n"
        "import wsolrefine.cli"
    )
    done = _python(["-c", code], tmp_path / "gone")
    assert done.returncode == 1
    assert done.stderr == "Error: the working folder cannot be used (No such file or directory)\n"


def test_the_search_path_is_as_it_was_after_an_import(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    (tmp_path / "fails_at_import.py").write_text("1 / 0")
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine/__init__.py").write_text("")
    (tmp_path / "package_of_mine/later.py").write_text("")
    (tmp_path / "package_of_mine/models.py").write_text(
        "import sys\npath = list(sys.path)\ndef build():\n    import package_of_mine.later\n"
    )
    with pytest.raises(ZeroDivisionError):
        loading.import_own_code("fails_at_import:build")
    assert sys.path == before
    loading.import_own_code("package_of_mine.models:build")
    assert sys.path == before
    module = sys.modules["package_of_mine.models"]
    assert module.path == [*before, str(tmp_path)]
    module.build()  # a part of the same package is found later, too
    for name in ("package_of_mine", "package_of_mine.models", "package_of_mine.later"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    "name", ["timm:x", "torchvision:x", "efficientnet-lite0", "nothing", ":x", "x:", ""]
)
def test_only_a_module_of_the_user_is_looked_for_in_the_working_folder(name, monkeypatch):
    monkeypatch.setattr(loading, "working_folder", lambda: pytest.fail("it was"))
    loading.import_own_code(name)
