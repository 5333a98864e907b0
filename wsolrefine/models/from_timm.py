"""Classifiers of timm."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.packages import require
from wsolrefine.models.preprocess import Preprocess


def pretrained_timm(name: str) -> Classifier:
    """Return a classifier with the weights of timm, which may be downloaded.

    Raises:
        ValueError: it has no classes.

    """
    spec, timm = f"timm:{name}", _timm(name)
    data = require("timm.data", spec, "timm")
    model: nn.Module = timm.create_model(name, pretrained=True)
    number = getattr(model, "num_classes", None)
    if number == 0:
        raise ValueError(f"spec: expected an image classifier, got {spec!r} without classes")
    # timm itself recognizes ImageNet-1k by its 1000 classes; older releases have no names.
    known = number == 1000 and hasattr(data, "ImageNetInfo")
    class_names = list(data.ImageNetInfo().label_descriptions()) if known else None
    return Classifier(model.eval(), preprocess_of_timm(model, name), class_names, spec)


def build_timm(
    name: str, num_classes: int | None = None, size: tuple[int, int] | None = None
) -> nn.Module:
    """Return an architecture with random weights, for nothing to be downloaded.

    Args:
        name: its name in timm.
        num_classes: None: as many as its pretrained weights have.
        size: of the images, for a transformer whose number of positions depends on it.

    """
    timm = _timm(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    fixed = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is not None and fixed is not None and tuple(fixed) != size:
        model = timm.create_model(name, pretrained=False, img_size=size, **options)
    return model


def preprocess_of_timm(model: nn.Module, name: str) -> Preprocess:
    """Return the preprocessing that the weights of this architecture were trained with."""
    config = require("timm.data", f"timm:{name}", "timm").resolve_model_data_config(model)
    _, height, width = config["input_size"]
    return Preprocess(
        (height, width), tuple(config["mean"]), tuple(config["std"]), config["interpolation"]
    )


def _timm(name: str) -> ModuleType:
    return require("timm", f"timm:{name}", "timm")
