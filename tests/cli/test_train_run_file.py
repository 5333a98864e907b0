"""What ``train --resume`` does with the settings of a run: they may come from somebody else."""

import copy
import hashlib
import json
import math
import os
import shlex
import shutil
from dataclasses import replace

import pytest
import typer
from torch import nn

from tests.support.training import BACKBONE, files_of, one_thread, run_command, same  # noqa: F401
from wsolrefine.cli.loading import load_model
from wsolrefine.cli.train.build import Built, model_hash
from wsolrefine.cli.train.options import Options, RecipeName
from wsolrefine.cli.train.pipeline import run
from wsolrefine.cli.train.run_folder import _hash


@pytest.fixture(scope="module")
def whole(cub, tmp_path_factory):
    """A run of two epochs."""
    out = tmp_path_factory.mktemp("whole") / "run"
    source = ["--dataset", "cub", "--root", cub.root, "--backbone", BACKBONE, "--device", "cpu"]
    small = ["--batch-size", 6, "--size", 40, "--crop", 32, "--set", "width=4", "--epochs", 2]
    run_command("train", "csoa", *source, *small, "--out", out)
    return out


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def resume(call, out):
    def resume(*arguments, backbone=BACKBONE, code=0):
        named = ["--backbone", backbone] if backbone else []
        return call("train", "csoa", "--out", out, "--resume", *named, *arguments, code=code)

    return resume


def write(out, content, *, forged):
    """Write settings; ``forged`` ones have the checksum of somebody who knows how it is made."""
    if forged:
        content["sha256"] = _hash(content)
    (out / "run.json").write_text(json.dumps(content))


# Code, downloads, paths ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backbone",
    [
        *("os:abort", "antigravity:fly", "package.module:callable", "timm:resnet50"),
        *("timm:hf-hub:owner/name", "timm:local-dir:/etc", "torchvision:resnet18", "x", "a b:c"),
        *("https://example.org/model", "../model:make"),
    ],
)
def test_a_run_folder_chooses_neither_code_nor_a_download(resume, out, backbone, monkeypatch):
    monkeypatch.setattr(
        "wsolrefine.cli.train.build.load_model", lambda *_, **__: pytest.fail("loaded")
    )
    content = json.loads((out / "run.json").read_text())
    content["settings"]["backbone"] = backbone
    write(out, content, forged=True)
    before = files_of(out)
    said = resume(backbone=None, code=2)
    assert f"--backbone: expected {backbone}, the backbone of {out / 'run.json'}" in said
    assert "a file must not choose which code runs or what is downloaded; got none" in said
    assert said.count("\n") == 1
    words = shlex.split(said.partition("If you trust it: ")[2])
    assert words == [
        "wsolrefine",
        "train",
        "csoa",
        "--out",
        str(out),
        "--resume",
        "--backbone",
        backbone,
    ]
    assert files_of(out) == before


def test_a_backbone_that_is_repeated_must_be_that_of_the_run(resume, out):
    said = resume(backbone="tests.support.zoo:ResNet", code=2)
    assert f"backbone: {BACKBONE} then, tests.support.zoo:ResNet now" in said


def test_the_command_to_continue_repeats_the_backbone(train, out):
    said = train("csoa", out=out, code=2)
    command = said.rpartition("continue: ")[2]
    words = shlex.split(command)
    assert words[words.index("--backbone") + 1] == BACKBONE


def test_only_the_results_of_the_recipe_that_was_asked_for_are_written(resume, out):
    content = json.loads((out / "run.json").read_text())
    content["settings"]["recipe"] = "../../csoa"
    write(out, content, forged=True)
    assert "recipe: expected 'spa', 'ornet'" in resume(code=2)


# Altered settings ---------------------------------------------------------------------------------


def nest(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


REMOVED = object()
VALUES = {
    "null": None, "true": True, "zero": 0, "one": 1, "minus one": -1, "a number": 3.5, "NaN": math.nan,
    "infinity": -math.inf, "a huge number": 10**300, "2**64": 2**64, "no text": "", "text": "x",
    "a null character": "a\0b", "half a character": "\ud800", "a path": "../../x", "long": "x" * 5000,
    "no list": [], "a list": [1, "a"], "an object": {}, "more": {"a": {"b": 1}}, "nested": nest(50),
    "removed": REMOVED,
}  # fmt: skip


def places(value, place=()):
    """Return the places of all values in nested objects and lists."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [place, *(found for key, item in items for found in places(item, (*place, key)))]


def put(content, place, value):
    if not place:
        return value
    content = copy.deepcopy(content)
    *before, last = place
    parent = content
    for key in before:
        parent = parent[key]
    if value is REMOVED:
        del parent[last]
    else:
        parent[last] = value
    return content


def test_every_change_of_the_settings_is_one_line(out, capsys, monkeypatch):
    """Also with the checksum of a forger, every change is refused or is a run like any other.

    What would be trained is not trained here: all that comes before is what is tried.
    """
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", lambda *_, **__: None)
    content = json.loads((out / "run.json").read_text())
    before, ran = files_of(out), []
    for place in places(content):
        for kind, value in VALUES.items():
            if not place and value is REMOVED:
                continue
            changed = put(content, place, value)
            if changed == content and type(changed) is type(content):
                continue
            for forged in (False, True):
                if forged and not isinstance(changed, dict):
                    continue
                write(out, changed, forged=forged)
                said, code = resumed(out, capsys)
                if code == 0:
                    ran.append((place, kind, forged))
                    shutil.rmtree(out)
                    for name, data in before.items():
                        (out / name).parent.mkdir(parents=True, exist_ok=True)
                        (out / name).write_bytes(data)
                    continue
                assert code in (1, 2), said
                errors = [line for line in said.splitlines() if line.startswith("Error: ")]
                assert len(errors) == 1, (place, kind, said)
                if not forged:
                    assert said == f"{errors[0]}\n"
                    assert f"{out / 'run.json'}: not written by wsolrefine train (" in said
                assert files_of(out).keys() == before.keys()
    # What a forger may change to a value that is as good: it is a run of other settings.
    assert {place[:2] for place, _, forged in ran if forged} <= {
        *(("settings", name) for name in ("metadata", "seed", "lr", "epochs", "devices", "classes")),
        ("settings", "set"), ("version",), ("sha256",),
    }  # fmt: skip
    assert not [one for one in ran if not one[2] and one[0] != ("sha256",)]


def resumed(out, capsys):
    """Continue a run without the command line, which takes much longer than the checks."""
    given = dict.fromkeys(Options._fields) | {"recipe": RecipeName.csoa, "out": out}
    options = {
        "backbone": BACKBONE,
        "device": "auto",
        "workers": 0,
        "keep_all": False,
        "resume": True,
    }
    try:
        run(Options(**given | options))
    except typer.Exit as stopped:
        return capsys.readouterr().err, stopped.exit_code
    return capsys.readouterr().err, 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", '"text"', "\x00", "{}", '{"settings": {}}', "[" * 100_000),
        *('{"a":' * 100_000, '{"settings": NaN}', "9" * 5000, "\ufeff{}"),
    ],
    ids=lambda text: text[:12],
)
def test_a_file_that_holds_no_settings(resume, train, out, text):
    (out / "run.json").write_text(text)
    for said in (resume(code=2), train("csoa", out=out, code=2)):
        assert f"Error: {out / 'run.json'}: not written by wsolrefine train (" in said
        assert said.count("\n") == 1


def test_a_file_that_is_no_text(resume, out):
    (out / "run.json").write_bytes(b"\xff\xfe{}")
    assert "run.json: not written by wsolrefine train (" in resume(code=2)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_settings_that_are_no_file(resume, train, out, make):
    (out / "run.json").unlink()
    make(out / "run.json")
    for said in (resume(code=2), train("csoa", out=out, code=2)):
        assert f"{out / 'run.json'}: not written by wsolrefine train (expected a file" in said


def test_the_checksum_is_the_usual_one(out):
    content = json.loads((out / "run.json").read_text())
    found = content.pop("sha256")
    assert found == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# The same run, another time -----------------------------------------------------------------------


def test_settings_written_later_than_a_checkpoint(resume, whole, out):
    """The clock may go backwards, and files may be copied: their times do not matter."""
    os.utime(out / "checkpoints/epoch-001.ckpt", (0, 0))
    os.utime(out / "run.json", (4e9, 4e9))
    (out / "csoa.safetensors").unlink()
    assert "Continuing after epoch 2." in resume()
    assert same(out / "csoa.safetensors", whole / "csoa.safetensors")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--seed", 1], "seed: 0 then, 1 now"),
        (["--lr", 0.5], "lr: None then, 0.5 now"),
        (["--set", "width=8"], "set: ['width=4'] then, ['width=8'] now"),
        (["--classes", 2], "classes: None then, 2 now"),
        (["--crop", 30], "crop: 32 then, 30 now"),
        (["--split", "test"], "split: train then, test now"),
    ],
)
def test_other_options_than_before(resume, out, option, message):
    before = files_of(out)
    assert message in resume(*option, code=2)
    assert files_of(out) == before


def test_images_that_have_changed(resume, cub, out, tmp_path):
    shutil.copytree(cub.root, tmp_path / "cub")
    resume("--root", tmp_path / "cub")
    image = tmp_path / "cub/images" / cub.splits["train"][0].image_id
    data = image.read_bytes()
    image.unlink()
    assert f"{image}: expected an image, got no file" in resume(code=1)
    image.write_bytes(data)
    splits = tmp_path / "cub/train_test_split.txt"
    text = splits.read_text()
    splits.write_text(text.replace("1 0\n2 1\n", "1 1\n2 0\n", 1))  # another image of the class
    assert "12 of 2 classes, got others of the same number" in resume(code=2)
    splits.write_text(text)
    resume()


def add_a_layer(classifier):
    classifier.model.features[2].add_module("added", nn.Conv2d(12, 12, 1))
    return classifier


def make_a_layer_wider(classifier):
    features = classifier.model.features
    features[7] = nn.Sequential(nn.Conv2d(24, 48, 1), nn.BatchNorm2d(48), nn.ReLU6())
    classifier.model.classifier[1] = nn.Linear(48, 10)
    return classifier


def change_the_preprocessing(classifier):
    return replace(classifier, preprocess=replace(classifier.preprocess, mean=(0.1, 0.2, 0.3)))


@pytest.mark.parametrize("change", [add_a_layer, make_a_layer_wider, change_the_preprocessing])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_backbone_whose_code_has_changed(resume, whole, out, monkeypatch, change, checkpoint):
    """No epoch is lost: neither the checkpoint nor the losses are replaced."""
    if not checkpoint:
        shutil.rmtree(out / "checkpoints")
    (out / "csoa.safetensors").unlink()
    before = files_of(out)
    with monkeypatch.context() as patch:
        patch.setattr(
            "wsolrefine.cli.train.build.load_model",
            lambda name, **options: change(load_model(name, **options)),
        )
        said = resume(code=2)
    assert said.startswith(
        f"Error: --resume: expected the backbone of the run in {out}, got another"
    )
    assert said.count("\n") == 1
    assert files_of(out) == before
    resume()
    assert same(out / "csoa.safetensors", whole / "csoa.safetensors")


def test_settings_that_name_another_backbone(resume, out):
    content = json.loads((out / "run.json").read_text())
    content["settings"]["backbone"] = "tests.support.zoo:ResNet"
    write(out, content, forged=True)
    before = files_of(out)
    said = resume(backbone="tests.support.zoo:ResNet", code=2)
    assert "--resume: expected the backbone of the run" in said
    assert files_of(out) == before


def test_other_settings_than_those_of_the_checkpoint(resume, out):
    content = json.loads((out / "run.json").read_text())
    content["settings"]["seed"] = 7
    write(out, content, forged=True)
    before = files_of(out)
    said = resume(code=1)
    assert "expected a checkpoint of this run, got one of another run" in said
    assert files_of(out) == before


def test_an_address_of_the_preprocessing_does_not_tell_models_apart():
    recipe, first, second = nn.Linear(2, 3), object(), object()
    assert repr(first) != repr(second)
    hashes = [model_hash(Built(recipe, None, preprocess)) for preprocess in (first, second, "x")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_two_runs_in_one_folder(resume, out):
    import fcntl

    handle = os.open(out, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert f"another run is writing to {out}" in resume(code=1)
    finally:
        os.close(handle)
    resume()
