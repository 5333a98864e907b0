"""Before the first image: the device, the classifier and its layers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image

from wsolrefine.activation.forward import class_activation
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.cli.console import stop
from wsolrefine.models import Classifier, load_classifier


class Prepared(NamedTuple):
    """A classifier on its device, where its features are, and how many classes it knows."""

    classifier: Classifier
    device: torch.device
    layers: Layers
    outputs: int


def prepare(name: str, features: Sequence[str] | None, device: str) -> Prepared:
    """Load a classifier and try it once, or stop with the reason; no features finds the layers."""
    place = choose_device(device)
    classifier = load_model(name)
    model = classifier.model.to(place)
    try:
        images = classifier.preprocess(Image.new("RGB", (64, 64), "gray"))[None].to(place)
        layers = find_layers(model, images)
        if features is not None:
            layers = layers._replace(features=tuple(features))
        trial = class_activation(model, images, layers=layers)  # a wrong --layer raises here
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        stop(error)
    return Prepared(classifier, place, layers, trial.logits.shape[1])


def choose_device(name: str) -> torch.device:
    """Return the device of that name, or stop if there is none; ``auto`` prefers a GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        stop(
            f"--device: expected cpu, cuda or another device of this machine, got {name} ({reason})"
        )


def load_model(name: str, option: str = "--model") -> Classifier:
    """Load a classifier by name, or stop with the command that installs what is missing."""
    if os.getcwd() not in sys.path:  # noqa: PTH109 - so that module:callable finds a file here
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        return load_classifier(name)
    except ImportError as error:
        stop(error, 1)
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"{option} {name}: {error}")
