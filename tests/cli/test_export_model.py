"""``export-model``: the file, what is said of it, and what is refused."""

import json
import os
import signal
import sys
import types

import numpy as np
import pytest
from torch import nn

from tests.support import zoo
from tests.support.command import run_command
from tests.support.small_localizers import photograph
from wsolrefine import Classifier, Localizer, Preprocess
from wsolrefine.cli.export_model import run as export_model
from wsolrefine.functional._graphs import LOOPS
from wsolrefine.localization import onnx_file
from wsolrefine.localization.graph import EXPORTED

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
loops = pytest.mark.skipif(not LOOPS, reason="this torch exports no loops")
SIDE = 32


def network():
    return zoo.seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
        )
    )


class Branches(nn.Module):
    """Its steps depend on values, which no graph holds."""

    def __init__(self):
        super().__init__()
        self.layers = network()

    def forward(self, images):
        logits = self.layers(images)
        return 2 * logits if logits.detach().sum().item() > 9 else logits


def classifier():
    return Classifier(network(), Preprocess((SIDE, SIDE)), [*"abcde"], "small")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    module = types.ModuleType("own_models")
    module.small, module.vit = classifier, lambda: zoo.seeded(zoo.ViT)
    module.branches = lambda: zoo.seeded(Branches)
    monkeypatch.setitem(sys.modules, "own_models", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(2):
        photograph(50 + i, 40, seed=i).save(tmp_path / f"photos/{i}.png")
    return tmp_path


def export(*arguments, code=0):
    return " ".join(run_command("export-model", *arguments, code=code).split())


@loops
def test_the_file_gives_what_the_localizer_gives(folder):
    said = export(
        *("photos", "--model", "own_models:small", "--method", "scg", "--out", "small.onnx"),
        *("--top", 2, "--threshold", 0.5, "--parts", "all"),
    )
    assert "small.onnx: small, scg, images of 32 x 32 to 2 classes" in said
    assert "on 2 photographs, ONNX Runtime differs from PyTorch by at most" in said
    session = onnxruntime.InferenceSession("small.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == [*"abcde"]
    assert json.loads(about["threshold"]) == 0.5
    assert json.loads(about["parts"]) == "all"
    localizer = Localizer(classifier(), refine="scg", threshold=0.5, parts="all")
    images = localizer.prepare_batch([localizer.prepare_image(photograph(60, 60, seed=5))])
    expected = localizer(images, top=2)
    labels, scores, maps, boxes = session.run(None, {"images": images.numpy()})
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(maps, expected.maps, atol=1e-4)
    np.testing.assert_array_equal(boxes, expected.boxes)
    assert {path.name for path in folder.iterdir()} == {"photos", "small.onnx"}


@loops
def test_without_photographs_and_with_a_tolerance_that_is_too_small(folder):
    said = export("--model", "own_models:small", "--method", "cam")
    assert "model.onnx: small, cam, images of 32 x 32 to 1 class" in said
    assert "on 2 generated images" in said
    said = export(
        *("--model", "own_models:small", "--method", "scg", "--tolerance", 0, "--out", "x.onnx"),
        code=1,
    )
    assert "--tolerance: expected scores within 0 of those of PyTorch" in said
    assert not (folder / "x.onnx").exists()


REFUSED = [
    (["--method", "balanced"], 2, "--method: expected one of fast, scg, sem,"),
    (["--parts", "instances"], 2, "--parts: expected one of largest, all, got 'instances'"),
    (["--threshold", "1"], 2, "--threshold: expected a number in [0, 1), got 1"),
    (["--tolerance", "-1"], 2, "--tolerance: expected"),
    (["--top", "9"], 2, "--top: expected"),
    (["--out", "photos"], 2, "--out: expected a new file, got photos (folder)"),
    (["--out", "photos/0.png"], 2, "--out: expected a new file, got photos/0.png (exists)"),
    (["--out", "missing/x.onnx"], 2, "--out: expected a file in a folder that exists"),
    (["--model", "own_models:vit"], 2, "--model: expected one whose head averages a map"),
    (["--layer", "x"], 2, "--layer: "),
    (["missing.png"], 1, "no file was written"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED)
def test_what_is_refused(folder, arguments, code, message):
    said = export("--model", "own_models:small", *arguments, code=code)
    assert message in said
    assert {path.name for path in folder.iterdir()} == {"photos"}


@loops
def test_a_model_that_cannot_be_recorded_is_refused_in_one_line():
    call = "export-model", "--model", "own_models:branches", "--input-size", "32"
    (line,) = run_command(*call, code=2).splitlines()
    assert line.startswith("Error: --model: expected a model and a refinement that torch.onnx.")


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing(folder, sent, monkeypatch):
    def stopped(graph, images):
        os.kill(os.getpid(), sent)

    monkeypatch.setattr(onnx_file, "require_packages", lambda: None)
    monkeypatch.setattr(onnx_file, "exported", stopped)
    assert "stopped" in export("--model", "own_models:small", code=130)
    assert {path.name for path in folder.iterdir()} == {"photos"}


def test_photographs_that_cannot_be_read(folder, monkeypatch):
    (folder / "photos/2.png").write_bytes(b"no image")
    assert "2.png" in export("photos", "--model", "own_models:small", code=1)
    monkeypatch.setattr(export_model, "MOST", 1)
    said = export("photos", "--model", "own_models:small", code=2)
    assert "IMAGES: expected at most 1 to compare on, got 3" in said
    assert not (folder / "model.onnx").exists()


def test_the_methods_are_those_without_gradients():
    assert {*EXPORTED} == {"fast", "scg", "sem", "gppl", "confseg", "conv_crf", "cam"}
