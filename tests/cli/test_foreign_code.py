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

SCRIPT = """
import importlib, os, sys

class Decoys:
    # Just before a module is looked for, a file of its name is put into the working folder.
    def find_spec(self, name, path=None, target=None):
        name = name.partition(".")[0]
        if path is None and name not in {spared!r} and not os.path.exists(name + ".py"):
            with open(name + ".py", "w") as file:
                file.write({decoy!r}.format(name))
            importlib.invalidate_caches()

sys.meta_path.insert(0, Decoys())
from wsolrefine.cli import app

for arguments in {commands!r}:
    before = list(sys.path)
    try:
        app(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
    assert sys.path == before
"""
DECOY = "import os\nos.mkdir({folder!r} + '/ran-{{}}')\nraise ImportError\n"
"""It leaves a folder of its name where it is run."""
OWN = ["my_models", "helper_of_mine", "wsolrefine", "__main__"]
OTHERS = ["cython", "mpi4py", "tabulate", "sitecustomize", "usercustomize", "multiprocessing"]
"""Modules that another system may look for."""


def commands(out):
    lists = ["-d", "wsolevaluation", "--metadata", "lists", "--root", "photos"]
    model = ["--model", "my_models:build"]
    train = ["--backbone", "my_models:build", "-d", "folder", "--root", "classes", "--size", "32"]
    return [
        ["refine", "photos", *model, "--out", f"{out}-refined"],
        # Of a layer by name, since to find one takes long and imports nothing.
        ["refine", "photos", "--layer", "_blocks.10", "--out", f"{out}-default"],
        ["evaluate", *lists, *model, "--size", "32", "--step", "0.1", "--out", f"{out}-evaluated"],
        ["train", "csoa", *train, "--crop", "32", "--set", "epochs=1", "--set", "width=8",
         "--set", "stage=-1", "--set", "auxiliary_stage=-2", "--out", f"{out}-trained"],
        ["refine", "photos", *model, "--recipe", f"{out}-trained/csoa.safetensors",
         "--out", f"{out}-recipe"],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder: photographs, lists, a model, and decoys."""
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
    for name in OTHERS:
        (folder / f"{name}.py").write_text(DECOY.format(folder=str(folder)).format(name))
    return folder


@pytest.fixture(scope="module")
def commands_of_folder(folder):
    """What came of all commands, called in one process, which makes the other decoys as well."""
    decoy = DECOY.format(folder=str(folder))
    # In the working folder itself, which a script's place in it puts in front of the search path.
    script = SCRIPT.format(commands=commands("out"), spared=OWN, decoy=decoy)
    (folder / "wsolrefine").write_text(script)
    done = _python(["wsolrefine"], folder)
    (folder / "wsolrefine").unlink()
    return done


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


def test_no_file_of_the_working_folder_runs_as_a_library(folder, commands_of_folder):
    assert commands_of_folder.returncode == 0, commands_of_folder.stderr
    assert ran(folder) == []
    decoys = {path.stem for path in folder.glob("*.py")}
    assert {"torch", "numpy", "PIL", "rich", "lightning", *OTHERS} <= decoys
    assert len(decoys) > 100
    for out in ("refined", "default", "evaluated", "trained", "recipe"):
        assert (folder / f"out-{out}").is_dir()


def test_a_decoy_that_is_imported_leaves_its_name(folder):
    assert _python(["-c", "import tabulate"], folder).returncode == 1
    assert ran(folder) == ["tabulate"]
    (folder / "ran-tabulate").rmdir()


REFINE = ["refine", "photos", "--model", "my_models:build", "--out", "out"]


@pytest.mark.usefixtures("commands_of_folder")
def test_neither_with_python_m_and_an_empty_entry_of_pythonpath(folder, tmp_path):
    # What Python itself looks for in a working folder, before it comes to wsolrefine, is its own.
    known = _python(["-c", "import runpy, sys; print(*sys.modules)"], tmp_path).stdout.split()
    spared = {name.partition(".")[0] for name in known} | {"sitecustomize", "usercustomize"}
    for path in folder.iterdir():
        if path.stem not in spared and path.name != "wsolrefine.py":
            (tmp_path / path.name).symlink_to(path)
    done = _python(["-m", "wsolrefine", *REFINE], tmp_path, PYTHONPATH=f"{ROOT}{os.pathsep}")
    assert done.returncode == 0, done.stderr
    assert ran(folder) == []
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("entry", [None, "", ".", "./"])
def test_the_search_path_of_the_command_leaves_out_the_working_folder(tmp_path, entry):
    """The module that sets it, in a package of this name that imports nothing else."""
    package, working = tmp_path / "package/wsolrefine", tmp_path / "working"
    package.mkdir(parents=True)
    working.mkdir()
    (package / "_command.py").symlink_to(ROOT / "wsolrefine/_command.py")
    (package / "__init__.py").write_text("import wsolrefine._command")
    (package / "__main__.py").write_text("import json, sys; print(json.dumps(sys.path))")
    path = os.pathsep.join([str(package.parent), *([] if entry is None else [entry])])
    done = _python(["-m", "wsolrefine"], working, PYTHONPATH=path)
    found = json.loads(done.stdout)
    assert str(package.parent) in found
    assert working not in [(working / one).resolve() for one in found]  # "" and "." lead there


def test_no_library_takes_settings_from_the_working_folder(folder, tmp_path):
    for name in ("photos", "lists", "my_models.py", "helper_of_mine.py"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "matplotlibrc").write_bytes(b"text.usetex: True\n\xff\xfe")
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: theirs\nnot_known: 1\n")
    done = _python(["-m", "wsolrefine", *commands("out")[2]], tmp_path, MPLBACKEND="foo")
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
