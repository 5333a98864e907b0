"""A localizer as one module of tensors: what it gives is what the localizer gives."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.support import zoo
from wsolrefine import (
    GraphOutput,
    Localizer,
    LocalizerGraph,
    OnnxDifferences,
    minmax,
    save_onnx,
    union_box,
)
from wsolrefine.functional._graphs import LOOPS
from wsolrefine.localization import onnx_file, onnx_record
from wsolrefine.localization.masks import objects_of

METHODS = ("cam", "scg", "sem", "gppl", "confseg", "conv_crf", "fast")
SIDE = 32
loops = pytest.mark.skipif(not LOOPS, reason="this torch exports no loops")


def network():
    return zoo.seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 2, 1)),
            *(nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
        )
    )


def photos(number=3):
    return torch.rand(number, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def small(method, **options):
    return Localizer(network(), refine=method, **options)


def same(found, expected, tolerance):
    for name in GraphOutput._fields:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        exact = name in ("labels", "boxes")
        torch.testing.assert_close(one, other, rtol=0, atol=0 if exact else tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_gives_what_the_localizer_gives(method):
    localizer = small(method)
    graph = LocalizerGraph(localizer, top=2, size=(SIDE, SIDE))
    expected = localizer(photos(), top=2)
    assert expected.boxes.any()
    same(graph(photos()), expected, 1e-6)


@pytest.mark.parametrize("make", [zoo.ResNet, zoo.MobileNetV2, zoo.SqueezeNet, zoo.DenseNet])
def test_networks_whose_head_averages_a_map(make):
    localizer = Localizer(zoo.seeded(make), refine="cam")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    same(LocalizerGraph(localizer, size=(64, 64))(images), localizer(images), 1e-6)


def test_the_model_is_left_in_its_mode():
    localizer = small("cam")
    localizer.model.train()
    graph = LocalizerGraph(localizer, size=(SIDE, SIDE))
    graph(photos())
    assert all(module.training for module in localizer.model.modules())


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, pixels):
        scores = self.network(pixels)
        return {"loss": None, "hidden": scores * 2, "logits": scores}


@pytest.mark.parametrize("logits", [None, "logits", lambda output: output["logits"]])
def test_logits_among_other_outputs(logits):
    localizer = Localizer(Named(), refine="cam", logits=logits)
    same(LocalizerGraph(localizer, size=(SIDE, SIDE))(photos()), localizer(photos()), 1e-6)


@loops
@pytest.mark.parametrize("method", ["cam", "scg"])
def test_an_exported_program_takes_any_number_of_images(method):
    localizer = small(method)
    graph = LocalizerGraph(localizer, size=(SIDE, SIDE))
    batch = {0: torch.export.Dim("batch", max=2**31 - 1)}
    program = torch.export.export(graph, (photos(2),), dynamic_shapes=(batch,)).module()
    for number in (1, 3):
        same(program(photos(number)), localizer(photos(number)), 1e-5)


@pytest.mark.parametrize(
    ("localizer", "message"),
    [
        (small("balanced"), "method: expected one without gradients (fast, scg, "),
        (
            Localizer(zoo.seeded(zoo.VGG), refine="cam"),
            "model: expected one whose head averag",
        ),
        (
            small("cam", parts="instances"),
            "parts: expected 'largest' or 'all' in an exported graph",
        ),
    ],
)
def test_what_a_graph_cannot_hold_is_refused(localizer, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}.*, got "):
        LocalizerGraph(localizer, size=(64, 64))


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"^size: expected \(height, width\) of the images"):
        LocalizerGraph(small("cam"))
    with pytest.raises(ValueError, match=r"^top: expected an integer from 1 to 5, got 6$"):
        LocalizerGraph(small("cam"), top=6, size=(SIDE, SIDE))
    graph = LocalizerGraph(small("cam"), size=(SIDE, SIDE))
    with pytest.raises(ValueError, match=r"^images: expected shape \(B, 3, 32, 32\), got"):
        graph(torch.rand(2, 3, 32, 40))


# One ONNX file -----------------------------------------------------------------------------------


@pytest.fixture
def packages():
    for name in onnx_record.PACKAGES:
        pytest.importorskip(name, reason="the extra onnx is not installed")


@loops
@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    "method",
    [
        "scg",
        *(pytest.param(m, marks=pytest.mark.slow) for m in METHODS if m not in ("scg", "conv_crf")),
    ],
)
def test_the_file_gives_what_the_localizer_gives(method, tmp_path):
    import onnxruntime

    localizer, path = small(method), tmp_path / "model.onnx"
    differences = save_onnx(localizer, path, size=(SIDE, SIDE), top=2, images=photos())
    assert differences == pytest.approx((0, 0, 0), abs=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for number in (1, 4):
        found = session.run(None, {"images": photos(number).numpy()})
        found = GraphOutput(*map(torch.from_numpy, found))
        same(found, localizer(photos(number), top=2), 1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert about["method"] == f'"{method}"'
    assert float(about["threshold"]) == localizer.threshold


class Result:
    """A program whose file is text."""

    def __init__(self):
        self.model = type("Model", (), {"metadata_props": {}})()

    def save(self, path, external_data):
        path.write_text("new")


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(onnx_file, "require_packages", lambda: None)
    monkeypatch.setattr(onnx_file, "exported", lambda graph, images: Result())


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"maps": 0.01},
            r"^tolerance: expected maps within 0\.001 of those of PyTorch, got a diff",
        ),
        ({"scores": 0.01}, r"^tolerance: expected scores within 0\.001 of those of PyTorch"),
        ({"scores": np.nan}, r"^tolerance: expected scores within 0\.001 .* difference of nan"),
        ({"labels": 1}, r"^labels: expected \[\[\d\], \[\d\]\] as in PyTorch, got"),
        ({"boxes": 1}, r"^boxes: expected those of the maps of the ONNX file, got others$"),
    ],
)
def test_a_file_that_differs_is_not_kept(change, message, tmp_path, monkeypatch):
    localizer, path = small("cam"), tmp_path / "model.onnx"
    path.write_text("old")

    class Session:
        def __init__(self, path, options, providers):
            pass

        def run(self, names, feed):
            found = localizer(torch.from_numpy(feed["images"]))
            # Maps that are lower keep the box where they are far from the threshold.
            values = {name: getattr(found, name).clone() for name in names}
            for name, step in change.items():
                values[name] += step
            if "maps" in change:
                objects = objects_of(values["maps"], (SIDE, SIDE), 0.28, "largest")
                values["boxes"] = union_box(objects > 0)
            return [values[name].numpy() for name in names]

    module = type("module", (), {"InferenceSession": Session, "SessionOptions": Result})
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    with pytest.raises(ValueError, match=message):
        save_onnx(localizer, path, size=(SIDE, SIDE), images=photos(2))
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "old"


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx: pip install 'wsolrefine\[onnx\]'$"):
        save_onnx(small("cam"), tmp_path / "model.onnx", size=(SIDE, SIDE))
    assert not [*tmp_path.iterdir()]


@loops
@pytest.mark.usefixtures("packages")
def test_a_refinement_that_cannot_be_recorded_is_refused(tmp_path):
    def peaked(cam, features, images):
        return minmax(cam) * float(cam.max())

    with pytest.raises(ValueError, match=r"^localizer: expected a model and a refinement that tor"):
        save_onnx(small(peaked), tmp_path / "model.onnx", size=(SIDE, SIDE))
    assert not [*tmp_path.iterdir()]


def test_a_stopped_export_is_no_error_of_the_model(tmp_path, monkeypatch):
    """Torch raises errors of its own where Ctrl-C stops the import of its compiler."""

    def stopped(*args, **options):
        try:
            raise KeyboardInterrupt
        finally:
            torch.missing  # noqa: B018

    monkeypatch.setattr(onnx_file, "require_packages", lambda: None)
    monkeypatch.setattr(torch.onnx, "export", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_onnx(small("cam"), tmp_path / "model.onnx", size=(SIDE, SIDE))
    assert not [*tmp_path.iterdir()]


@loops
@pytest.mark.slow
@pytest.mark.usefixtures("packages")
def test_the_offline_classifier_on_photographs(tmp_path):
    from PIL import Image

    from tests.support import photographs

    localizer = Localizer(photographs.classifier(), refine="fast")
    opened = [Image.open(photographs.FOLDER / name) for name in ("coffee.png", "chelsea.png")]
    images = localizer.prepare_batch([localizer.prepare_image(image) for image in opened])
    differences = save_onnx(localizer, tmp_path / "model.onnx", images=images)
    print(differences)  # noqa: T201
    assert isinstance(differences, OnnxDifferences)
    assert differences.boxes <= 1
