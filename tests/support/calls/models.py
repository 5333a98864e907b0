"""Functions of a model and an image, and what describes a model."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import wsolrefine as w
from tests.support import wrong_values as kinds
from tests.support.calls.call import FEATURES, LABEL, of
from tests.support.wrong_values import Kind

MODEL = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
    torch.nn.Flatten(), torch.nn.Linear(4, 3),
)  # fmt: skip
IMAGES = torch.rand(2, 3, 8, 8)
LAYERS = w.find_layers(MODEL, IMAGES)
ACTIVATION = torch.rand(2, 4, 5, 6, requires_grad=True)

READING = {
    "to_map": Kind(None, lambda maps: maps if maps.ndim == 4 else None, legal={"None"}, either={"function", "type"}),
    "logits": Kind(None, lambda output: output, legal={"None"}, either={"function", "type"} | kinds.INDICES),
    "call": Kind(None, lambda model, images: model(images), legal={"None"}, either={"function", "type"}),
}  # fmt: skip
# Text and integers may be a field or an index of an output: this model returns a tensor.
LABELS = Kind(0, np.int64(1), LABEL, torch.tensor([[0, 1], [1, 2]]), legal={"None", "zero", "two"})
TOP = Kind(3, np.int64(2), legal={"two"})
SOME = Kind(IMAGES, legal={"empty tuple"})  # of no images nothing is found


def localizer(**options):
    """A localizer of the images, so that every option is used."""
    return w.Localizer(MODEL, **{"layers": LAYERS, **options})


def entered(model, layer):
    """Enter and leave the block of ``capture``."""
    with w.capture(model, layer):
        pass


entered.__name__ = "capture"


def saved(localizer, path, *, top=1, size=None, images=None, tolerance=1e-3):
    """Call ``save_onnx`` without what takes seconds: to record the graph, and to compare."""
    with pytest.MonkeyPatch.context() as patch:
        module = "wsolrefine.localization.onnx_file"
        patch.setattr(f"{module}.require_packages", lambda: None)
        patch.setattr(f"{module}.exported", lambda graph, images: Program())
        patch.setattr(f"{module}.compared", lambda *arguments: None)
        w.save_onnx(localizer, path, top=top, size=size, images=images, tolerance=tolerance)


saved.__name__ = "save_onnx"


class Program:
    """What ``torch.onnx.export`` returns, without a graph."""

    def __init__(self):
        self.model = SimpleNamespace(metadata_props={})

    def save(self, path, external_data):
        Path(path).write_bytes(b"")


CALLS = [
    of(
        w.Classifier,
        {"model": MODEL, "preprocess": None, "class_names": None, "name": "x"},
        {
            "preprocess": kinds.function.or_none(),
            "class_names": Kind(["a"], legal={"None", "list of texts", "empty tuple"}),
            "name": kinds.text,
            "logits": Kind(legal={"None", "text", "empty text", "type", "function"} | kinds.INTEGERS),
            "call": kinds.function.or_none(),
        },
    ),
    of(
        w.Localizer,
        {"model": MODEL},
        {
            "refine": Kind("scg", w.sem, legal={"function", "type"}),
            "threshold": Kind(None, 0.25, np.float32(0.25), legal={"None", "zero", "a half"}),
            "parts": kinds.choice("largest", "all", "instances"),
            "layers": Kind(None, LAYERS, ["0"], ("0",), legal={"None", "list of texts"}),
            "to_map": kinds.function.or_none(),
            "preprocess": kinds.function.or_none(),
            "class_names": Kind(["a"], legal={"None", "list of texts", "empty tuple"}),
            "logits": Kind(legal={"None", "text", "empty text", "type", "function"} | kinds.INTEGERS),
            "call": kinds.function.or_none(),
        },
    ),
    of(
        w.Preprocess,
        {},
        {
            "size": kinds.size,
            "mean": Kind((0, 0.5, 1), [0.1, 0.2, 0.3], np.array([0.1, 0.2, 0.3]), legal={"list"}),
            "std": Kind((1, 0.5, 1), [0.1, 0.2, 0.3], legal={"list"}),
            "interpolation": kinds.choice("box", "bicubic"),
        },
    ),
    of(
        entered,
        {"model": MODEL, "layer": "0"},
        {"layer": Kind("", "1", legal={"empty text"})},
        layer="layers",
    ),
    of(
        w.class_activation,
        {"model": MODEL, "images": IMAGES},
        READING
        | {
            "labels": LABELS,
            "top": TOP,
            "layers": Kind(None, LAYERS, tuple(LAYERS), legal={"None"}),
            "layer_cams": Kind(0, np.int64(1), legal={"zero"}),
            "bagcams": Kind(0, np.int64(1), legal={"zero"}),
        },
        logits="logits|model",
    ),
    of(
        w.find_layers,
        {"model": MODEL, "images": IMAGES},
        READING | {"layers": Kind(None, ["0"], ("0",), legal={"None"})},
        logits="logits|model",
    ),
    of(w.find_stages, {"model": MODEL, "images": IMAGES}, READING, logits="logits|model"),
    of(w.gap_cam, {"features": FEATURES, "weight": torch.rand(3, 4), "labels": LABEL}),
    *(
        of(
            function,
            {"activation": ACTIVATION, "scores": ACTIVATION.mean((2, 3))},
            {"to_map": Kind(None, lambda maps: maps, legal={"None"}, either={"function", "type"})},
        )
        for function in (w.grad_cam, w.layer_cam, w.bagcams)
    ),
    of(
        w.load_classifier,
        {},
        {
            "spec": Kind("efficientnet-lite0"),
            # Any text may be the name of a file.
            "checkpoint": Kind(None, legal={"None"}, either={"text"}),
            "class_names": Kind(None, [str(i) for i in range(1000)], legal={"None"}, either={"text"}),
            "size": kinds.size.or_none(),
            **dict.fromkeys(("mean", "std"), Kind((1, 2, 3), None, legal={"None", "list"})),
        },
    ),
    of(
        w.localize,
        {"model": MODEL, "images": IMAGES},
        {"images": SOME, "labels": LABELS, "top": TOP, "size": kinds.size.or_none()},
    ),
]  # fmt: skip
SCG = w.Localizer(MODEL, layers=LAYERS, refine="cam")
CALLS += [
    of(
        w.LocalizerGraph,
        {"localizer": SCG, "size": (8, 8)},
        {"localizer": Kind(SCG), "top": TOP, "size": kinds.size},
    ),
    of(
        saved,
        {"localizer": SCG, "path": "model.onnx", "size": (8, 8)},
        {
            "localizer": Kind(SCG),
            "path": kinds.path,
            "top": TOP,
            "size": kinds.size,
            "images": Kind(IMAGES, None, legal={"None"}),
            "tolerance": Kind(0.25, np.float32(0.25), legal={"zero", "a half", "two", "a million"}),
        },
    ),
]  # fmt: skip
FOUND = w.localize(MODEL, IMAGES)
METHODS = [
    of(
        localizer().forward,
        {"images": IMAGES},
        {"images": SOME, "labels": LABELS, "top": TOP, "size": kinds.size.or_none()},
    ),
    of(
        FOUND.at,
        {"threshold": 0.5},
        {
            "threshold": Kind(0.25, np.float32(0.25), legal={"zero", "a half"}),
            "parts": Kind("all", "largest", "instances", None, legal={"None"}),
        },
    ),
    of(FOUND.to, {"device": "cpu"}, {"device": Kind(torch.device("cpu"), "cpu")}),
]
