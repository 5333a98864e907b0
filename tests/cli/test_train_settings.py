"""What ``train`` refuses before it writes anything, and where it stops: NaN, labels, devices."""

import inspect
import json
import os
import shlex
import signal
from pathlib import Path

import pytest
import torch

from tests.support import miniature
from tests.support.command import invoke
from tests.support.training import BACKBONE, files_of, folder_of, one_thread, same  # noqa: F401
from wsolrefine.cli.train.command import train as command
from wsolrefine.cli.train.overrides import hyper_parameters
from wsolrefine.recipes import Ornet, Spol, load_recipe


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("spol", ["--set", "momentum=-1"], "--set momentum: expected a number in [0, 1), got -1.0"),
        ("spa", ["--set", "momentum=1"], "--set momentum: expected a number in [0, 1), got 1.0"),
        ("csoa", ["--set", "weight_decay=-1"], "--set weight_decay: expected a number in [0, 1e+30]"),
        ("spa", ["--set", "learning_rate=-1"], "--set learning_rate: expected a number in (0, 1e+30]"),
        ("spa", ["--set", "learning_rate=0"], "--set learning_rate: expected a number in (0, 1e+30]"),
        ("spa", ["--set", "learning_rate=nan"], "--set learning_rate: expected a number, got 'nan'"),
        ("spa", ["--set", "learning_rate=inf"], "--set learning_rate: expected a number, got 'inf'"),
        ("spa", ["--set", "backbone_learning_rate=-1"], "--set backbone_learning_rate: expected a number"),
        ("spa", ["--lr", "-1"], "--lr: expected a number in (0, 1e+30], got -1.0"),
        ("spa", ["--lr", "nan"], "--lr: expected a number in (0, 1e+30], got nan"),
        ("spa", ["--lr", "inf"], "--lr: expected a number in (0, 1e+30], got inf"),
        ("spa", ["--lr", "1e300"], "--lr: expected a number in (0, 1e+30], got 1e+300"),
        ("spa", ["--seed", "-1"], "--seed"),
        ("spa", ["--seed", "18446744073709551616"], "--seed"),
        ("spa", ["--seed", "x"], "--seed"),
        ("spa", ["--batch-size", "0"], "--batch-size"),
        ("spa", ["--batch-size", "100000000000000000000"], "--batch-size"),
        ("spa", ["--epochs", "0"], "--epochs"),
        ("spa", ["--epochs", f"1{'0' * 400}"], "--epochs"),
        ("spa", ["--set", f"epochs=1{'0' * 400}"], "--set epochs: expected an integer from 1 to 1000000"),
        ("spa", ["--set", f"stage=1{'0' * 5000}"], "--set stage: expected an integer, got"),
        ("spa", ["--set", "stage=100000000"], "--set stage: expected an integer from -1000 to 1000"),
        ("spa", ["--set", "warmup_epochs=-1"], "--set warmup_epochs: expected an integer >= 0"),
        ("spa", ["--size", "10000000"], "--size"),
        ("spa", ["--size", "0"], "--size"),
        ("spa", ["--crop", "0"], "--crop"),
        ("spa", ["--crop", "1"], "expected"),
        ("spa", ["--workers", "1000000"], "--workers"),
        ("spa", ["--devices", "0"], "--devices"),
        ("spa", ["--devices", "1000"], "--devices: expected at most one for every 2 images"),
        ("spa", ["--device", "meta"], "--device: expected cpu, cuda or another device"),
        ("spa", ["--device", "cpu:x"], "--device: expected cpu, cuda or another device"),
        ("spa", ["--device", ""], "--device: expected cpu, cuda or another device"),
        ("spa", ["--precision", "16-mixed"], "expected 32-true or bf16-mixed on a CPU"),
        ("spa", ["--classes", "3"], "--classes: expected 2 as the data set has names, got 3"),
        ("spa", ["--classes", "1"], "--classes"),
        ("spa", ["--backbone", ""], "--backbone: expected"),
        ("spa", ["--backbone", "tests.support.zoo:CLASSES"], "--backbone tests.support.zoo:CLASSES: "),
        ("spa", ["--set", "scg_stages="], "--set scg_stages: expected comma-separated integers, got ''"),
        ("spa", ["--set", "orders=0"], "--set orders: expected integers from 1 to 64, got (0,)"),
        ("spa", ["--set", "orders=1,65"], "--set orders: expected integers from 1 to 64, got (1, 65)"),
        ("spa", ["--set", "orders=70000"], "--set orders: expected integers from 1 to 64"),
        ("sem_edges", ["--set", "num_seeds=1000001"], "--set num_seeds: expected an integer from 1 to"),
        ("sem_edges", ["--set", "map_threshold=0"], "--set map_threshold: expected a number in (0, 1)"),
        ("spol", ["--set", "foreground=0.001"], "--set foreground: expected at least background=0.1"),
        ("spol", ["--set", "dropout=1"], "--set dropout: expected a number in [0, 1), got 1.0"),
        ("ornet", ["--set", "layer=nothing"], "--set layer: expected a name from model.named_modules()"),
        ("spa", ["--size", 2, "--crop", 2], f"--backbone {BACKBONE}, --crop 2: model: expected a layer"),
        ("spa", ["--size", 8, "--crop", 8], "--set scg_stages: expected an index of 2 stages, got -3"),
        ("csoa", ["--size", 8, "--crop", 8], "--set auxiliary_stage: expected an index of 2 stages"),
        ("ornet", ["--size", 8, "--crop", 8], "--set reads: expected an index of 2 stages, got -3"),
        ("ornet", ["--set", "evaluator_epochs=2"], "--set evaluate_at: expected 'pixels' with an evaluator"),
        ("ornet", ["--set", "evaluate_at=map"], "--set evaluate_at: expected one of features, pixels, got"),
        ("spol", ["--size", 8, "--crop", 8], "--set stages: expected an integer from 1 to 2, got 3"),
        ("spa", ["--backbone", "tests.support.zoo:ViT", "--size", 8, "--crop", 8],
         "--backbone tests.support.zoo:ViT, --crop 8: images: expected what the model takes, got (1,"),
    ],
)  # fmt: skip
def test_settings_are_refused_before_anything_is_written(train, tmp_path, recipe, options, message):
    said = train(recipe, *options, code=2)
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_nothing_in_a_folder_of_the_user_changes(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    train("spa", "--set", "momentum=-1", code=2)
    train("spa", "--device", "meta", code=2)
    assert files_of(tmp_path / "run") == {"notes.txt": b"mine"}


@pytest.mark.parametrize("recipe", ["spa", "csoa", "ornet", "sem_edges", "spol"])
def test_one_class_teaches_nothing(train, tmp_path, recipe):
    folder = folder_of(tmp_path / "images")
    (folder / "b").rename(tmp_path / "elsewhere")
    said = train(recipe, data=("folder", folder), code=1)
    assert "--dataset: expected at least 2 classes, got 1" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--out", "--root", "--metadata"])
@pytest.mark.parametrize("path", ["", "x" * 5000, "a/" * 3000, "file/below", "null\0"])
def test_paths_that_are_none(call, cub, tmp_path, monkeypatch, option, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    paths = {"--out": "run", "--root": cub.root, "--metadata": "lists"} | {option: path}
    words = [word for pair in paths.items() for word in pair]
    result = invoke("train", "spa", "-d", "wsolevaluation", *words)
    assert result.exit_code in (1, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# Losses and weights that are not finite -----------------------------------------------------------


def test_training_stops_at_the_first_loss_that_is_not_finite(train, tmp_path):
    said = train("csoa", "--epochs", 3, "--lr", 1e30, code=1)
    assert "Error: csoa: expected a finite loss, got nan in epoch 1, step 2 (" in said
    assert "loss nan" not in said
    assert said.count("Error: ") == 1
    assert set(files_of(tmp_path / "run")) == {"run.json"}


def test_the_checkpoint_before_is_kept(train, tmp_path, monkeypatch):
    """Weights may become infinite while every loss is finite."""
    from wsolrefine.cli.train.trainer import EpochLog

    def spoil(self, trainer, module, *_):
        if trainer.current_epoch == 1:
            module.head[1].weight.data[0] = torch.inf

    train("csoa", "--epochs", 3, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_batch_end", spoil, raising=False)
        patch.setattr("wsolrefine.recipes.csoa.Csoa.loss", lambda self, images, labels, epoch: self.total(
            one=self.head[1].weight.nan_to_num(0, 0, 0).square().mean()))  # fmt: skip
        said = train("csoa", "--epochs", 3, code=1)
    assert "csoa: expected finite weights after epoch 2, got inf in head.1.weight" in said
    assert "The checkpoint after epoch 1 is kept." in said
    assert "checkpoints/epoch-000.ckpt" in files_of(tmp_path / "run")
    assert "csoa.safetensors" not in files_of(tmp_path / "run")
    said = train("csoa", "--resume", data=None)
    assert "Continuing after epoch 1." in said
    assert load_recipe(tmp_path / "run/csoa.safetensors", backbone=BACKBONE).name == "csoa"


def test_what_a_backbone_raises_while_it_is_trained_is_one_line(train, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("cannot allocate memory\nat some place")

    monkeypatch.setattr("wsolrefine.recipes.csoa.Csoa.loss", failing)
    said = train("csoa", "--epochs", 1, code=1)
    assert "Error: training failed in epoch 1 (cannot allocate memory)\n" in said


# Labels -------------------------------------------------------------------------------------------


@pytest.fixture
def lists(train, tmp_path):
    """Train on lists of wsolevaluation whose labels are these."""
    written = miniature.write_wsolevaluation(tmp_path / "data")
    labels = written.metadata / "train/class_labels.txt"
    names = [line.partition(",")[0] for line in labels.read_text().splitlines()]

    def run(given, *options, code=0):
        each = [given[number % len(given)] for number in range(len(names))]
        labels.write_text("".join(f"{n},{label}\n" for n, label in zip(names, each, strict=True)))
        source = ["--metadata", written.metadata / "train", *options]
        return train(
            "csoa", "--epochs", 1, *source, data=("wsolevaluation", written.root), code=code
        )

    return run


@pytest.mark.parametrize(
    ("labels", "missing"), [((0, 7), (1, 6)), ((1, 2), (0, 1)), ((0, 1000000), (1, 999999))]
)
def test_a_class_without_an_image_is_refused(lists, tmp_path, labels, missing):
    said = lists(labels, code=1)
    assert f"expected images of every class from 0 to {max(labels)}, the largest label" in said
    assert f"got none of class {missing[0]} ({missing[1]} classes have none)" in said
    assert "--classes" in said
    assert not (tmp_path / "run").exists()


def test_the_number_of_classes_can_be_told(lists, tmp_path):
    said = lists((0, 7), "--classes", 9)
    assert "4 of 9 classes" in said
    recipe = load_recipe(tmp_path / "run/csoa.safetensors", backbone=BACKBONE)
    assert recipe.num_classes == 9
    assert json.loads((tmp_path / "run/run.json").read_text())["settings"]["classes"] == 9


@pytest.mark.parametrize("label", [9, 10**6, 10**30])
def test_a_label_above_the_number_of_classes(lists, tmp_path, label):
    said = lists((0, label), "--classes", 9, code=1)
    assert "expected 0 to 8" in said or "label" in said
    assert not (tmp_path / "run").exists()


def test_labels_that_are_all_the_same(lists, tmp_path):
    assert "--dataset: expected at least 2 classes, got 1" in lists((0,), code=1)


# Signals ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["the checkpoint", "the losses", "the recipe", "the settings"])
def test_a_signal_while_a_file_is_written(train, tmp_path, monkeypatch, sent, moment):
    """What is being written is the old file or the new one, and the run can be continued."""
    place = {"the checkpoint": ".ckpt", "the losses": ".csv", "the settings": ".json"}.get(moment)
    replace = os.replace if place is None else os.fsync
    hit = []

    def interrupted(*arguments):
        name = str(Path(f"/proc/self/fd/{arguments[0]}").readlink()) if place else str(arguments[1])
        if name.endswith(place or ".safetensors") and not hit:
            hit.append(name)
            os.kill(os.getpid(), sent)
        return replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, replace.__name__, interrupted)
        said = train("csoa", "--epochs", 1, code=130)
    assert hit
    assert "To continue: wsolrefine train csoa" in said
    assert not [name for name in files_of(tmp_path / "run") if "tmp" in name or ".part" in name]
    if moment == "the settings":  # nothing was begun
        train("csoa", "--epochs", 1)
    else:
        train("csoa", "--resume", data=None)
    train("csoa", "--epochs", 1, out=tmp_path / "whole")
    assert files_of(tmp_path / "run").keys() == files_of(tmp_path / "whole").keys()
    assert same(tmp_path / "run/csoa.safetensors", tmp_path / "whole/csoa.safetensors")


# The settings of the papers -----------------------------------------------------------------------


# Epochs on CUB and on ILSVRC.
EPOCHS = {
    Ornet: {
        "evaluator_epochs": (30, 2),
        "generator_epochs": (70, 5),
        "refinement_epochs": (30, 3),
    },
    Spol: {"cam_epochs": (32, 6), "segmentation_epochs": (32, 6)},
}
of_both_papers = pytest.mark.parametrize("recipe", EPOCHS, ids=lambda recipe: recipe.name)


def commands_of(recipe):
    """Return the commands with the paper's settings, of the page and of the help."""
    page = (Path(__file__).parents[2] / f"docs/recipes/{recipe.name}.md").read_text("utf-8")
    block = page.partition("ith the paper's settings")[2].split("```")[1].replace("\\\n", " ")
    help_of = [text.strip() for text in inspect.getdoc(command).split("\n\n")]
    shown = [*block.splitlines(), *(text for text in help_of if "--set" in text)]
    return [
        shlex.split(text) for text in shown if text.startswith(f"wsolrefine train {recipe.name}")
    ]


@of_both_papers
def test_the_commands_set_all_that_differs_from_the_paper(recipe):
    defaults = inspect.signature(recipe).parameters
    commands = commands_of(recipe)
    assert len(commands) == (3 if recipe is Ornet else 2)
    for words in commands:
        set_ = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        found = hyper_parameters(recipe, set_, None, None)
        of_ilsvrc = words[words.index("--root") + 1] == "ILSVRC"
        paper = {
            **recipe.PAPER,
            **{name: lengths[of_ilsvrc] for name, lengths in EPOCHS[recipe].items()},
        }
        assert {name: found.get(name, defaults[name].default) for name in paper} == paper
        assert set(found) <= {*paper, "segmentation_threshold"}  # of the released code


@of_both_papers
def test_the_paper_differs_from_the_defaults(recipe):
    defaults = inspect.signature(recipe).parameters
    for name, value in recipe.PAPER.items():
        assert value != defaults[name].default
