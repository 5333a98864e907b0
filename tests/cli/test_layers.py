"""``layers``, and the options that all commands share: ``--version``, ``--quiet``, completion."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch
import typer
from PIL import Image
from torch import nn

from tests.support import zoo
from tests.support.command import invoke, run_command
from wsolrefine import Classifier, Preprocess, __version__, find_layers, find_stages
from wsolrefine.cli import app
from wsolrefine.cli.layers.found import find


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    module = types.ModuleType("own_models")
    module.cnn = lambda: Classifier(zoo.seeded(zoo.ResNet), Preprocess((64, 96)), None, "cnn")
    module.vit = lambda: zoo.seeded(zoo.ViT)
    module.none = lambda: nn.Conv2d(3, 8, 3)
    monkeypatch.setitem(sys.modules, "own_models", module)
    return module


def cells(line):
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_layers_of_a_network_whose_head_makes_the_cam(models):
    said = run_command("layers", "own_models:cnn")
    assert "cnn, 64 x 96 pixels" in said
    rows = [cells(line) for line in said.splitlines() if line.startswith("│")]
    classifier = models.cnn()
    images = torch.rand(1, 3, 64, 96)
    layers, stages = find_layers(classifier.model, images), find_stages(classifier.model, images)
    assert [row[:2] for row in rows[:-1]] == [[str(i + 1), s] for i, s in enumerate(stages)]
    used = {row[1]: row[5] for row in rows}
    assert {name for name, use in used.items() if use == "features"} == {*layers.features}
    assert used[layers.cam] == "CAM"
    assert rows[-1] == ["", layers.head, "Linear", "", "10", "head"]
    assert [row[3] for row in rows if row[1] in (*layers.features, layers.cam)] == [
        *("8 x 12", "4 x 6", "2 x 3"),
    ]
    how = f"CAM: maps of {layers.cam}, weighted by the weights of {layers.head}; no backward pass"
    assert said.splitlines()[-1] == how


def test_layers_of_a_transformer(models):
    found = find(
        Classifier(models.vit(), Preprocess((224, 224)), None, "vit"), torch.rand(1, 3, 224, 224)
    )
    layers = find_layers(models.vit(), torch.rand(1, 3, 224, 224))
    assert (found.cam, found.head) == (layers.cam, None)
    (cam,) = [layer for layer in found.layers if "CAM" in layer.use]
    assert (cam.name, cam.grid) == (layers.cam, (14, 14))
    said = run_command("layers", "own_models:vit")
    assert f"CAM: Grad-CAM at {layers.cam}, one backward pass for each class" in said


def test_layers_of_a_checkpoint_at_another_size(models):
    torch.save({f"module.{k}": v for k, v in models.cnn().model.state_dict().items()}, "best.pt")
    options = ("--checkpoint", "best.pt", "--input-size", "128")
    assert "cnn, 128 x 128 pixels" in run_command("layers", "own_models:cnn", *options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own_models:none"], "MODEL own_models:none: model: expected logits of shape (B, num_cla"),
        (["own_models:nothing"], "MODEL own_models:nothing: expected 'own_models:nothing' to be"),
        ([" "], "MODEL: expected the name of a classifier, got ' '"),
        (["own_models:cnn", "--checkpoint", "no.pt"], "--checkpoint: expected a file, got no.pt"),
    ],
)
def test_what_has_no_layers_is_one_line(arguments, message):
    said = run_command("layers", *arguments, code=2)
    assert said.startswith(f"Error: {message}")
    assert said.count("\n") == 1


# Options of all commands --------------------------------------------------------------------------


def test_the_version():
    assert run_command("--version") == f"wsolrefine {__version__}\n"


@pytest.mark.parametrize("command", typer.main.get_command(app).commands)
def test_every_command_can_be_quiet(command):
    (option,) = [
        p for p in typer.main.get_command(app).commands[command].params if p.name == "quiet"
    ]
    assert option.opts == ["--quiet", "-q"]


def test_quiet_leaves_errors_only():
    Image.linear_gradient("L").resize((64, 64)).save("a.png")
    refine = ("refine", "a.png", "--model", "own_models:cnn", "--method", "scg", "--out")
    assert run_command(*refine, "quiet", "-q") == ""
    assert "1 refined" in run_command(*refine, "loud")  # the option does not stay
    Path("broken.png").write_bytes(b"x")
    said = run_command(*refine, "quiet", "broken.png", "-q", code=1)
    assert "1 could not be used:" in said
    assert "refined" not in said
    assert run_command("layers", "own_models:cnn", "--quiet") == ""
    assert run_command("refine", "none.png", "-q", code=2).splitlines()[-1].startswith("Error: ")


def test_a_shell_can_complete_commands_and_methods(monkeypatch, capsys):
    assert "--install-completion" in invoke("--help").output
    for variable, value in {
        "_WSOLREFINE_COMPLETE": "complete_bash",
        "COMP_WORDS": "wsolrefine refine x --method sc",
        "COMP_CWORD": "4",
    }.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        app(prog_name="wsolrefine")
    assert capsys.readouterr().out.split() == ["scg"]


def test_limit_takes_the_first_images_and_a_later_run_the_others():
    for name in ("c.png", "a.png", "b.png"):
        Image.linear_gradient("L").resize((64, 64)).save(name)
    refine = ("refine", ".", "--model", "own_models:cnn", "--method", "scg", "--out", "../out")
    assert "2 refined." in run_command(*refine, "--limit", 2)
    files = [
        i["file_name"] for i in json.loads(Path("../out/wsolrefine.json").read_text())["images"]
    ]
    assert sorted(files) == ["a.png", "b.png"]
    assert "0 refined; 2 skipped" in run_command(*refine, "--limit", 2)
    assert "1 refined; 2 skipped" in run_command(*refine)
    assert "Invalid value" in run_command(*refine, "--limit", 0, code=2)
