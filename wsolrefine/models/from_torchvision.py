"""Classifiers of torchvision."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.packages import require
from wsolrefine.models.preprocess import Preprocess

# torchvision builds these with other layers if there are no pretrained weights.
_AS_PRETRAINED: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}


def pretrained_torchvision(name: str) -> Classifier:
    """Return a classifier with the default weights of torchvision, which may be downloaded."""
    models = _models(name)
    preprocess = _preprocess(models, name)
    model: nn.Module = models.get_model(name, weights="DEFAULT")
    categories = models.get_model_weights(name).DEFAULT.meta["categories"]
    return Classifier(model.eval(), preprocess, list(categories), f"torchvision:{name}")


def build_torchvision(
    name: str, num_classes: int | None = None, size: tuple[int, int] | None = None
) -> nn.Module:
    """Return an architecture with random weights, for nothing to be downloaded.

    Args:
        name: its name in torchvision.
        num_classes: None: as many as its pretrained weights have.
        size: of the images, for a transformer whose number of positions depends on it.

    Raises:
        ValueError: torchvision has no such classifier.

    """
    models = _models(name)
    # All others would download the weights of a backbone of their own.
    if name not in models.list_models(module=models):
        got = f"torchvision:{name}"
        raise ValueError(f"spec: expected a classifier of torchvision, got {got!r}")
    options: dict[str, Any] = {**_AS_PRETRAINED.get(name, {})}
    if num_classes is not None:
        options["num_classes"] = num_classes
    if size is not None and name.startswith("vit_"):
        if size[0] != size[1]:
            raise ValueError(f"size: expected a square for torchvision:{name}, got {size}")
        options["image_size"] = size[0]
    model: nn.Module = models.get_model(name, weights=None, **options)
    return model


def preprocess_of_torchvision(name: str) -> Preprocess:
    """Return the preprocessing of the default weights, which are not downloaded."""
    return _preprocess(_models(name), name)


def _preprocess(models: ModuleType, name: str) -> Preprocess:
    weights = models.get_model_weights(name).DEFAULT
    preset = weights.transforms()
    if not hasattr(preset, "crop_size") or "categories" not in weights.meta:
        raise ValueError(f"spec: expected an image classifier, got {f'torchvision:{name}'!r}")
    crop = tuple(preset.crop_size)  # one number, or height and width
    return Preprocess(
        (int(crop[0]), int(crop[-1])),
        tuple(preset.mean),
        tuple(preset.std),
        preset.interpolation.value,
    )


def _models(name: str) -> ModuleType:
    return require("torchvision.models", f"torchvision:{name}", "torchvision")
