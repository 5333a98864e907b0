"""The recipe of ``train``, built on the stages of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from wsolrefine.activation.layers import find_stages
from wsolrefine.cli.console import stop
from wsolrefine.cli.loading import load_model
from wsolrefine.cli.train.dataset import number_of_classes
from wsolrefine.cli.train.overrides import hyper_parameters
from wsolrefine.data.reader import Reader
from wsolrefine.models import Preprocess
from wsolrefine.nn import FeatureList, stage_channels
from wsolrefine.recipes import Recipe, RecipeMetadata
from wsolrefine.recipes.checkpoint import recipe_class


class Built(NamedTuple):
    """A recipe ready for training, its metadata, and the preprocessing of images."""

    recipe: Recipe
    metadata: RecipeMetadata
    preprocess: Callable[[Image.Image], Tensor]


def build(settings: dict[str, Any], reader: Reader) -> Built:
    """Build the recipe on the stages of the backbone, or stop."""
    recipe = recipe_class(settings["recipe"])
    keywords = hyper_parameters(recipe, settings["set"], settings["lr"], settings["epochs"])
    classifier = load_model(settings["backbone"], option="--backbone")
    crop = settings["crop"]
    preprocess = classifier.preprocess
    if isinstance(preprocess, Preprocess):
        preprocess = replace(preprocess, size=(crop, crop))
    classes = number_of_classes(reader)
    try:
        trial = preprocess(Image.new("RGB", (crop, crop), "gray"))[None]
        layers = find_stages(
            classifier.model, trial, logits=classifier.logits, call=classifier.call
        )
        backbone = FeatureList(classifier.model, layers, call=classifier.call)
        channels = stage_channels(backbone, trial)
        built = recipe(backbone, channels, classes, **keywords)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        stop(error)
    if built.epochs < 1:
        stop(f"--set: expected at least one epoch, got {built.epochs}")
    metadata = RecipeMetadata(
        backbone=settings["backbone"],
        layers=tuple(layers),
        channels=tuple(channels),
        num_classes=classes,
        class_names=reader.class_names,
        preprocess=preprocess if isinstance(preprocess, Preprocess) else None,
    )
    return Built(built.train(), metadata, preprocess)
