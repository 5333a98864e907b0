"""Folders and files that may not be read or written: one line, at once, and nothing is touched."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_altered_files import BACKBONE, photos, recipe  # noqa: F401
from tests.cli.test_evaluate import save_map, write_lists
from tests.cli.test_wrong_values import MODEL
from tests.support import photographs
from tests.support.command import run_command as call
from tests.support.permissions import closed
from tests.support.training import folder_of

LISTS = ["-d", "wsolevaluation", "--metadata", "lists"]
EVALUATE = ["evaluate", *LISTS, "--maps", "maps"]
TRAIN = ["train", "csoa", "-d", "folder", "--root", "classes", "--backbone", BACKBONE]
COMMANDS = {
    "demo": ["demo"],
    "refine": ["refine", "photos", "--model", MODEL],
    "evaluate": EVALUATE,
    "train": TRAIN,
    "train --resume": ["train", "csoa", "--backbone", BACKBONE, "--resume"],
}


@pytest.fixture(autouse=True)
def working_folder(photos, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "box").mkdir()
    write_lists(tmp_path / "lists", {"a.jpg": (0, (20, 20), [(1, 1, 5, 5)])})
    save_map(tmp_path / "maps", "a.jpg", np.eye(9))
    folder_of(tmp_path / "classes")


@pytest.mark.parametrize("out", ["box", "box/new", "box/new/er"])
@pytest.mark.parametrize("mode", [0o000, 0o555])
@pytest.mark.parametrize("command", COMMANDS)
def test_results_that_cannot_be_written_are_refused_before_the_work(command, mode, out):
    with closed(Path("box"), mode):
        said = call(*COMMANDS[command], "--out", out, code=2)
    assert said.startswith("Error: --out: expected ") or "--resume: expected a folder" in said
    assert "permission denied" in said or mode == 0o555
    assert said.count("\n") == 1
    assert not list(Path("box").iterdir())


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("lists", EVALUATE, "--metadata: expected a folder, got lists (permission denied)"),
        ("lists/localization.txt", EVALUATE, "lists/localization.txt: permission denied"),
        ("maps", EVALUATE, "--maps: expected a folder, got maps (permission denied)"),
        ("maps/a.jpg.npy", EVALUATE, "a.jpg: maps/a.jpg.npy: Permission denied"),
        ("photos", [*EVALUATE, "--root", "photos"], "--root: expected a folder, got photos (perm"),
        (
            "photos/a.jpg",
            ["evaluate", *LISTS, "--root", "photos", "--model", MODEL, "--size", "9"],
            "a.jpg: photos/a.jpg: Permission denied",
        ),
        ("classes", TRAIN, "--root: expected a folder, got "),
        ("classes/b", TRAIN, "classes/b: permission denied"),
        ("photos", ["refine", "photos"], "photos: permission denied"),
        ("photos", ["refine", "photos/a.jpg"], "photos/a.jpg: permission denied"),
        ("photos", ["refine", "photos/*.jpg"], "photos/*.jpg: permission denied"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_named(monkeypatch, path, arguments, said):
    with photographs.shared(monkeypatch), closed(Path(path)):
        unusable = arguments[0] == "refine" or said.startswith("--")
        printed = call(*arguments, "--out", "box/out", code=2 if unusable else 1)
    assert said in printed
    assert "Errno" not in printed


def test_a_map_in_a_closed_folder_is_not_a_missing_map():
    save_map(Path("maps"), "b/c.jpg", np.eye(9))
    write_lists(Path("lists"), {"b/c.jpg": (0, (20, 20), [(1, 1, 5, 5)])})
    with closed(Path("maps/b")):
        printed = call(*EVALUATE, "--out", "box/out", code=1)
    assert "b/c.jpg: maps/b/c.jpg.npy: Permission denied" in printed


def test_a_recipe_that_cannot_be_read_is_named(recipe):  # noqa: F811
    arguments = ["refine", "photos", "--recipe", "recipe.safetensors", "--model", BACKBONE]
    with closed(recipe[0]):
        said = call(*arguments, "--out", "box/out", code=1)
    assert said == "Error: --recipe: recipe.safetensors: Permission denied\n"


def test_one_closed_folder_does_not_stop_the_others():
    shutil.copytree("photos", "photos/more")
    Path("box/out").mkdir()
    with closed(Path("photos/more")):
        said = call("refine", "photos", "--model", MODEL, "--out", "box/out", code=1)
    assert "2 refined" in said
    assert "photos/more: permission denied" in said
