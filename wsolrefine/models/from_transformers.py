"""Image classifiers of transformers, from the Hub or a folder."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.packages import require
from wsolrefine.models.preprocess import Preprocess
from wsolrefine.models.processor import preprocess_of_config

EXTRA = "'wsolrefine[hf]'"


def pretrained_transformers(name: str) -> Classifier:
    """Return an image classifier with its own names of classes and preprocessing.

    Code in the repository of the model is not run.

    Args:
        name: of a model on the Hub, or a folder of ``save_pretrained``.

    """
    spec = f"hf:{name}"
    auto = library(spec).AutoModelForImageClassification
    model: nn.Module = auto.from_pretrained(name, trust_remote_code=False)
    names = getattr(model.config, "id2label", None) or {}
    ordered = [str(names[index]) for index in sorted(names)]
    # transformers fills in LABEL_0 and so on where nobody has named the classes.
    known = ordered if ordered != [f"LABEL_{index}" for index in range(len(ordered))] else None
    return Classifier(model.eval(), preprocess_of_transformers(name, spec), known or None, spec)


def preprocess_of_transformers(name: str, spec: str) -> Preprocess:
    """Return the preprocessing that the image processor of a model is configured with."""
    module = require("transformers.image_processing_base", spec, EXTRA)
    config: dict[str, Any] = module.ImageProcessingMixin.get_image_processor_dict(name)[0]
    return preprocess_of_config(config.get("image_processor", config), spec)


def library(spec: str) -> ModuleType:
    """Return transformers, or raise an ImportError that says how to install it."""
    return require("transformers", spec, EXTRA)
