"""Checkpoints of any training code: found, read as data, and fitted, or an error that says why."""

import argparse
import json
import os
import re
import string
import sys
import types
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from wsolrefine import Classifier, Localizer, Preprocess, load_classifier
from wsolrefine.models.checkpoint import KEYS, find_weights, read_checkpoint
from wsolrefine.models.fitting import head_size, load_weights, without_prefix


class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.BatchNorm2d(6), nn.ReLU())
        self.num_classes = num_classes
        self.fc = nn.Linear(6, num_classes)

    def forward(self, images):
        return self.fc(self.stem(images).mean((2, 3)))


@pytest.fixture
def timm(monkeypatch):
    """A library of the shape of timm with one architecture, which downloads nothing."""

    def create_model(name, pretrained=False, num_classes=1000):
        assert (name, pretrained) == ("small", False)
        return Network(num_classes)

    config = {"input_size": (3, 32, 40), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    library = types.ModuleType("timm")
    library.create_model = create_model
    library.data = types.ModuleType("timm.data")
    library.data.resolve_model_data_config = lambda _: config | {"interpolation": "bicubic"}
    monkeypatch.setitem(sys.modules, "timm", library)
    monkeypatch.setitem(sys.modules, "timm.data", library.data)


@pytest.fixture
def trained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(3).eval()


def prefixed(weights, prefix):
    return {prefix + key: value for key, value in weights.items()}


def same(loaded, trained):
    images = torch.rand(2, 3, 32, 40)
    with torch.no_grad():
        assert_close(loaded.model(images), trained(images), rtol=0, atol=0)
    assert not loaded.model.training
    return True


# Every way to save --------------------------------------------------------------------------------


def saved(kind, weights):
    """The content of a checkpoint of some training code."""
    other = {key: torch.zeros_like(value) for key, value in weights.items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    lightning = prefixed(weights, "model.") | {"criterion.weight": torch.ones(3)}
    compiled = {key.replace("stem.", "stem._orig_mod."): value for key, value in weights.items()}
    return {
        "plain": weights,
        "ordered": OrderedDict(weights),
        "data parallel": prefixed(weights, "module."),
        "two wrappers": prefixed(weights, "module._orig_mod."),
        "compiled": prefixed(weights, "_orig_mod."),
        "compiled part": compiled,
        "net": prefixed(weights, "net."),
        "any attribute": prefixed(weights, "resnet_of_mine."),
        "lightning": {"epoch": 3, "state_dict": lightning, "optimizer_states": [optimizer]},
        "model": {"model": weights, "optimizer": optimizer, "best": torch.tensor(0.9)},
        "model_state_dict": {"model_state_dict": weights, "loss": 0.1},
        "ema": {"model": other, "ema": {"decay": 0.9, "module": weights}},
        "state_dict_ema": {"state_dict": other, "state_dict_ema": weights},
        "averaged": {
            "model": other,
            "model_ema": prefixed(weights, "module.") | {"n_averaged": torch.tensor(7)},
        },
        "nested": {"checkpoint": {"state": {"model": weights}}, "epoch": 3},
        "unknown key": {"backbone_of_mine": weights, "epoch": 3},
        "timm's arguments": {"state_dict": weights, "args": argparse.Namespace(lr=0.1, aug=[1])},
        "old": {k: v for k, v in weights.items() if "num_batches" not in k},
        "teacher too": prefixed(weights, "model.") | prefixed(other, "teacher."),
    }[kind]


KINDS = [
    *("plain", "ordered", "data parallel", "two wrappers", "compiled", "compiled part", "net"),
    *("any attribute", "lightning", "model", "model_state_dict", "ema", "state_dict_ema"),
    *("averaged", "nested", "unknown key", "old", "teacher too"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_found_however_they_were_saved(kind, timm, trained, tmp_path):
    torch.save(saved(kind, trained.state_dict()), tmp_path / "best.pt")
    loaded = load_classifier("timm:small", checkpoint=tmp_path / "best.pt")
    assert same(loaded, trained)
    assert loaded.model.num_classes == 3
    assert (loaded.name, loaded.class_names) == ("timm:small", None)
    assert loaded.preprocess == Preprocess((32, 40), (0.5,) * 3, (0.25,) * 3, "bicubic")


@pytest.mark.skipif(
    not hasattr(torch.serialization, "safe_globals"), reason="torch 2.4 cannot allow one class"
)
def test_the_arguments_beside_the_weights_of_timm_are_read(timm, trained, tmp_path):
    torch.save(saved("timm's arguments", trained.state_dict()), tmp_path / "best.pt")
    assert same(load_classifier("timm:small", checkpoint=tmp_path / "best.pt"), trained)


@pytest.mark.parametrize("name", ["best.safetensors", "best.pt"])
def test_safetensors_are_told_by_their_content(name, timm, trained, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="wsolrefine[train] has it")
    safetensors.save_file(prefixed(trained.state_dict(), "module."), tmp_path / name)
    assert same(load_classifier("timm:small", checkpoint=tmp_path / name), trained)


def test_half_precision_becomes_that_of_the_model(timm, trained, tmp_path):
    trained.half().float()
    torch.save({k: v.half() for k, v in trained.state_dict().items()}, tmp_path / "best.pt")
    loaded = load_classifier("timm:small", checkpoint=tmp_path / "best.pt")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert same(loaded, trained)


NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=6)


@given(st.lists(NAMES, max_size=3), st.lists(st.sampled_from(KEYS), max_size=3))
def test_any_prefix_and_any_nesting(parts, keys):
    weights = {k: torch.rand(v.shape) for k, v in Network(2).state_dict().items()}
    content = prefixed(weights, "".join(f"{part}." for part in parts))
    for key in keys:
        content = {"epoch": 1, "optimizer": {"lr": 0.1}, key: content}
    found = without_prefix(find_weights(content), weights)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


# Own code and the offline default -----------------------------------------------------------------


def test_own_code_keeps_its_head_and_its_names(trained, tmp_path, monkeypatch):
    mine = types.ModuleType("own_models")
    mine.build = lambda: Classifier(Network(3), Preprocess((32, 40)), ["a", "b", "c"], "mine")
    monkeypatch.setitem(sys.modules, "own_models", mine)
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    loaded = load_classifier("own_models:build", checkpoint=tmp_path / "best.pt")
    assert same(loaded, trained)
    assert loaded.class_names == ["a", "b", "c"]
    torch.save(Network(4).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"'fc.weight' of shape \(4, 6\) instead of \(3, 6\)"):
        load_classifier("own_models:build", checkpoint=tmp_path / "other.pt")


def test_the_offline_default_with_other_classes(tmp_path):
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0", num_classes=5).eval()
    torch.save({"state_dict": prefixed(model.state_dict(), "model.")}, tmp_path / "best.ckpt")
    loaded = load_classifier(
        checkpoint=tmp_path / "best.ckpt", class_names=list("abcde"), size=(64, 96)
    )
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert_close(loaded.model(images), model(images))
    assert loaded.preprocess == Preprocess((64, 96), (127 / 255,) * 3, (128 / 255,) * 3)
    found = Localizer(loaded)(images)
    assert found.logits.shape == (1, 5)
    assert found.class_names == list("abcde")


# What does not fit --------------------------------------------------------------------------------


def message(call, error=ValueError):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


def test_names_that_do_not_fit_are_shown_with_the_closest(trained):
    weights = trained.state_dict()
    weights["head.weight"], weights["head.bias"] = weights.pop("fc.weight"), weights.pop("fc.bias")
    said = message(lambda: load_weights(trained, weights, "timm:small", "best.pt"))
    assert said == (
        "checkpoint: expected the weights of timm:small, got 6 of its 8 weights in best.pt; "
        "without 'fc.weight' (close: 'head.weight'), 'fc.bias' (close: 'head.bias'); "
        "with 'head.weight' (close: 'fc.weight'), 'head.bias' (close: 'fc.bias')"
    )


def test_shapes_that_differ_are_shown(trained):
    weights = trained.state_dict() | {"stem.0.weight": torch.zeros(6, 1, 4, 4)}
    said = message(lambda: load_weights(trained, weights, "timm:small", "best.pt"))
    assert "got 7 of its 8 weights in best.pt; with 'stem.0.weight' of shape " in said
    assert said.endswith("(6, 1, 4, 4) instead of (6, 3, 4, 4)")


def test_a_checkpoint_of_another_architecture_is_a_short_message(trained):
    other = {f"blocks.{i}.attn.qkv.weight": torch.zeros(2, 2) for i in range(99)}
    said = message(lambda: load_weights(trained, other, "timm:small", "best.pt"))
    assert "got 0 of its 8 weights" in said
    assert " and 95 more" in said
    assert len(said) < 800


def test_a_failed_load_leaves_the_model_as_it_was(trained):
    before = {key: value.clone() for key, value in trained.state_dict().items()}
    wrong = {key: value + 1 for key, value in before.items()} | {"more": torch.ones(1)}
    message(lambda: load_weights(trained, wrong, "x", "y"))
    assert all(torch.equal(before[key], value) for key, value in trained.state_dict().items())


def test_two_models_in_one_checkpoint_are_not_guessed(trained):
    weights = trained.state_dict()
    two = prefixed(weights, "student.") | prefixed(weights, "teacher.")
    said = message(lambda: without_prefix(two, weights))
    assert said == (
        "checkpoint: expected the weights of one model, got several: 'student.', 'teacher.'"
    )


def test_a_head_is_what_depends_on_the_number_of_classes():
    probe = Network(1013)
    assert head_size(probe, Network(7).state_dict()) == 7
    assert head_size(probe, {"stem.0.weight": torch.zeros(6, 3, 4, 4)}) is None


# Files that are refused ---------------------------------------------------------------------------


class Trap:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("beside", [True, False])
def test_no_object_in_a_file_is_built(beside, timm, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = trained.state_dict() | {"trap": Trap()} if beside else Trap()
    torch.save(content, "trap.pt")
    said = message(lambda: load_classifier("timm:small", checkpoint="trap.pt"))
    assert re.match(
        r"checkpoint: expected weights and plain values only, got \w+\.mkdir in trap\.pt, which is "
        r"not loaded because building objects from a file can run code; save the weights alone",
        said,
    )
    assert not Path("ran").exists()


def test_a_pickled_model_is_named(timm, trained, tmp_path):
    torch.save(trained, tmp_path / "whole.pt")
    said = message(lambda: load_classifier("timm:small", checkpoint=tmp_path / "whole.pt"))
    assert "plain values only, got tests.models.test_checkpoint.Network in " in said


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4broken", b"\x80\x02.", b"\0" * 8 + b"{"])
def test_a_damaged_file(content, tmp_path):
    pytest.importorskip("safetensors", reason="wsolrefine[train] has it")
    (tmp_path / "best.pt").write_bytes(content)
    said = message(lambda: read_checkpoint(tmp_path / "best.pt"))
    assert said.startswith("checkpoint: expected a ")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({"epoch": 3}, "the keys 'epoch'"),
        ([torch.ones(1)], "a list"),
        ({}, "the keys "),
        ({"a": {"w": torch.ones(1)}, "b": {"w": torch.ones(1)}}, "the keys 'a', 'b'"),
    ],
)
def test_a_file_without_weights(content, got, tmp_path):
    torch.save(content, tmp_path / "best.pt")
    said = message(lambda: read_checkpoint(tmp_path / "best.pt"))
    assert said == f"checkpoint: expected a state dict, got {got} in {tmp_path / 'best.pt'}"


def test_a_file_that_cannot_be_read(tmp_path):
    assert "expected a file, got a folder" in message(lambda: read_checkpoint(tmp_path), OSError)
    message(lambda: read_checkpoint(tmp_path / "nothing.pt"), FileNotFoundError)


# Names of classes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "wren\r\ncactus wren \nrobin, redbreast\n\n"),
        ("names.txt", "\ufeffwren\ncactus wren\nrobin, redbreast"),
        ("names.json", json.dumps(["wren", "cactus wren", "robin, redbreast"])),
        ("names.JSON", '{"2": "robin, redbreast", "0": "wren", "1": "cactus wren"}'),
        ("names.json", '{"robin, redbreast": 2, "wren": 0, "cactus wren": 1}'),
    ],
)
def test_class_names_from_a_file(name, content, timm, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    (tmp_path / name).write_text(content, "utf-8", newline="")
    loaded = load_classifier(
        "timm:small", checkpoint=tmp_path / "best.pt", class_names=tmp_path / name
    )
    assert loaded.class_names == ["wren", "cactus wren", "robin, redbreast"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("names.txt", b"", "expected at least one name, got none in "),
        ("names.txt", b"a\n\nb\n", "expected a name for each class, got none for 1"),
        ("names.txt", b"\xff\xfe", "expected a text file in UTF-8, a name a line, got "),
        ("names.json", b"[1, 2]", "expected a JSON list of names, or an object"),
        ("names.json", b'{"1": "a", "2": "b"}', "expected a JSON list of names, or an object"),
        ("names.json", b'{"0": ["n01", "a"]}', "expected a JSON list of names, or an object"),
        ("names.json", b"3", "expected a JSON list of names, or an object"),
        ("names.json", b"{", "expected JSON, got "),
        ("names.txt", b"a\nb", "expected 3 as the head has classes, got 2"),
    ],
)
def test_wrong_class_names(name, content, said, timm, trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    (tmp_path / name).write_bytes(content)
    files = {"checkpoint": tmp_path / "best.pt", "class_names": tmp_path / name}
    text = message(lambda: load_classifier("timm:small", **files))
    assert text.startswith("class_names: ")
    assert said in text


def test_names_and_preprocessing_of_a_pretrained_classifier_are_changed(monkeypatch):
    mine = types.ModuleType("own_models")
    mine.ready = Classifier(Network(2), Preprocess((8, 8)), None, "mine")
    mine.bare = Classifier(Network(2), lambda image: torch.zeros(3, 8, 8), None, "mine")
    monkeypatch.setitem(sys.modules, "own_models", mine)
    loaded = load_classifier("own_models:ready", class_names=["a", "b"], std=[1, 2, 3])
    assert loaded.class_names == ["a", "b"]
    assert loaded.preprocess == Preprocess((8, 8), std=(1, 2, 3))
    assert loaded.model is mine.ready.model
    assert mine.ready.class_names is None
    said = message(lambda: load_classifier("own_models:bare", size=(9, 9)))
    assert said.startswith("size: expected a classifier whose preprocessing is a Preprocess, got ")
    said = message(lambda: load_classifier("own_models:ready", class_names=["a"]))
    assert said == "class_names: expected 2 as the head has classes, got 1"
