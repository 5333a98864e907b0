"""``--checkpoint`` and its companions: the same in every command that takes ``--model``."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.cli.test_evaluate import save_map, write_lists
from tests.support import plots, zoo
from tests.support.command import run_command
from wsolrefine.cli.changes import Changes, changes_of, parse_channels, parse_size
from wsolrefine.cli.loading import load_localizer

MODEL = "tests.cli.test_changes:model"
CLASSES = 3


def model():
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 4, 4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)),
    )


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    plots.left_out(monkeypatch)
    weights = zoo.seeded(model).state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, "best.pt")
    torch.save({f"net.{k}": v + 1 for k, v in weights.items()}, "other.pt")
    Path("names.txt").write_text("wren\nrobin\ncrane\n")
    for seed, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(name)
    write_lists(tmp_path / "lists", {"a.png": (0, (32, 24), [(1, 1, 5, 5)])})


FILES = ("--checkpoint", "best.pt", "--class-names", "names.txt")
REFINE = ("refine", "a.png", "--out", "out", "--method", "scg", "--layer", "1", "--model", MODEL)
EVALUATE = (
    *("evaluate", "-d", "wsolevaluation", "--metadata", "lists", "--root", ".", "--out", "out"),
    *("--method", "scg", "--layer", "1", "--step", "0.1"),
)


def results():
    return json.loads(Path("out/wsolrefine.json").read_text())


def test_refine_uses_weights_names_and_preprocessing():
    run_command(*REFINE, *FILES, "--input-size", "24x32", "--mean", "0,0,0", "--std", "1,1,1")
    found = results()
    assert [category["name"] for category in found["categories"]] == ["wren", "robin", "crane"]
    changes = Changes(Path("best.pt"), Path("names.txt"), (24, 32), (0.0,) * 3, (1.0,) * 3)
    localizer = load_localizer(MODEL, None, "scg", ["1"], "cpu", changes)
    weights = torch.load("best.pt", weights_only=True)["state_dict"]
    for name, value in localizer.model.state_dict().items():
        assert torch.equal(value, weights[f"module.{name}"])
    expected = localizer.open("a.png")
    (annotation,) = found["annotations"]
    assert annotation["category_id"] == expected.labels.item()
    x0, y0, x1, y1 = expected.boxes[0, 0].tolist()
    assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert localizer.prepare_image(Image.open("a.png")).shape == (3, 24, 32)


def test_a_later_run_continues_with_the_same_weights_only():
    size = ("--input-size", "32")
    run_command(*REFINE, *FILES, *size)
    Path("best.pt").rename("renamed.pt")
    again = ("--checkpoint", "renamed.pt", *FILES[2:])
    printed = run_command("refine", "a.png", "b.png", *REFINE[2:], *again, *size)
    assert "1 refined" in printed
    for changed, told in (
        (("--checkpoint", "other.pt", *FILES[2:], *size), "checkpoint: "),
        (again, "input_size: [32, 32] then, None now"),
        ((*again, "--input-size", "24"), "input_size: [32, 32] then, [24, 24] now"),
        ((*again[:2], *size), "class_names: "),
    ):
        assert told in run_command(*REFINE, *changed, code=2)


def test_evaluate_uses_them_too():
    run_command(*EVALUATE, "--model", MODEL, *FILES, "--input-size", "32", "--labels", "true")
    found = json.loads(Path("out/evaluation.json").read_text())
    assert found["options"]["checkpoint"] == "best.pt"
    assert found["options"]["input_size"] == "32"
    other = ("--checkpoint", "other.pt", *FILES[2:])
    run_command(*EVALUATE, "--model", MODEL, *other, "--input-size", "32", "--labels", "true")


def test_they_are_refused_where_they_have_no_effect():
    save_map(Path("maps"), "a.png", [[1.0]])
    maps = (*EVALUATE[:7], "--out", "out", "--maps", "maps")
    for option, value in (*zip(FILES[::2], FILES[1::2], strict=True), ("--mean", "0,0,0")):
        assert f"{option}: --maps does not use it" in run_command(*maps, option, value, code=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--checkpoint", "none.pt"), "--checkpoint: expected a file, got none.pt (no such file"),
        (("--checkpoint", "lists"), "--checkpoint: expected a file, got lists (folder)"),
        (("--checkpoint", "names.txt"), "--checkpoint: expected a file of torch.save or safe"),
        (("--class-names", "best.pt"), "--class-names: expected a text file in UTF-8, a name"),
        (("--input-size", "0"), "--input-size: expected pixels or HEIGHTxWIDTH, each from 1 to"),
        (("--input-size", "4x4x4"), "--input-size: expected pixels or HEIGHTxWIDTH"),
        (("--mean", "0,0"), "--mean: expected three numbers with commas, got '0,0'"),
        (("--mean", "nan,0,0"), "--mean: expected three numbers with commas, got 'nan,0,0'"),
        (("--std", "0,1,1"), "--std: expected three numbers above 0 with commas, got '0,1,1'"),
    ],
)
def test_wrong_values_are_one_line_with_the_option(options, said):
    printed = run_command(*REFINE, *options, code=2)
    assert printed.startswith(f"Error: {said}")
    assert printed.count("\n") == 1


def test_too_few_names_are_told_by_the_option(monkeypatch):
    Path("names.txt").write_text("wren\n")
    said = run_command(*REFINE, *FILES, code=2)
    assert said == ("Error: --class-names: expected 3 as the model has class scores, got 1\n")


def test_weights_of_another_number_of_classes_are_told_by_the_option(monkeypatch):
    monkeypatch.setattr("tests.cli.test_changes.CLASSES", 2)
    said = run_command(*REFINE, *FILES, code=2)
    assert said.startswith(f"Error: --checkpoint: expected the weights of {MODEL}, got 2 of its 4")
    assert "'4.weight' of shape (3, 4) instead of (2, 4)" in said


def test_the_values_of_options():
    assert changes_of(None, None, None, None, None) == Changes()
    assert changes_of(None, None, "9x7", "1,2,3", "1,2,3") == Changes(
        None, None, (9, 7), (1, 2, 3), (1, 2, 3)
    )
    assert parse_size(" 9X7 ") == (9, 7)
    assert parse_channels("std", "1e-3,2,3", above=0) == (0.001, 2.0, 3.0)
