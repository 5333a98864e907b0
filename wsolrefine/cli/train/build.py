"""The recipe of ``train``, built on the stages of a classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from wsolrefine.activation.layers import find_stages
from wsolrefine.cli.changes import Changes
from wsolrefine.cli.console import stop
from wsolrefine.cli.hashes import described
from wsolrefine.cli.loading import NONE, load_model
from wsolrefine.cli.train.dataset import number_of_classes
from wsolrefine.cli.train.overrides import hyper_parameters, parameters
from wsolrefine.cli.train.teacher import number_of_scores, with_teacher
from wsolrefine.data.reader import Reader
from wsolrefine.models import Preprocess
from wsolrefine.nn import FeatureList, stage_channels
from wsolrefine.recipes import Distill, Recipe, RecipeMetadata
from wsolrefine.recipes.checkpoint import recipe_class


class Built(NamedTuple):
    """A recipe ready for training, its metadata, and the preprocessing of images."""

    recipe: Recipe
    metadata: RecipeMetadata
    preprocess: Callable[[Image.Image], Tensor]


def build(settings: dict[str, Any], reader: Reader, changes: Changes = NONE) -> Built:
    """Build the recipe on the stages of the backbone, or stop.

    Args:
        settings: of the run.
        reader: its images.
        changes: of the backbone: its weights, its names of classes.

    """
    recipe = recipe_class(settings["recipe"])
    keywords = hyper_parameters(recipe, settings["set"], settings["lr"], settings["epochs"])
    classifier = load_model(settings["backbone"], option="--backbone", changes=changes)
    crop = settings["crop"]
    preprocess = classifier.preprocess
    if isinstance(preprocess, Preprocess):
        preprocess = replace(preprocess, size=(crop, crop))
    classes, names = number_of_classes(reader, settings["classes"]), reader.class_names
    trying = f"--backbone {settings['backbone']}, --crop {crop}"
    try:
        trial = preprocess(Image.new("RGB", (crop, crop), "gray"))[None]
        layers = find_stages(
            classifier.model, trial, logits=classifier.logits, call=classifier.call
        )
        backbone = FeatureList(
            classifier.model, layers, call=classifier.call, logits=classifier.logits
        )
        channels = stage_channels(backbone, trial)
        if issubclass(recipe, Distill):
            classes = number_of_scores(backbone, trial)
    except Exception as error:  # the backbone may be the user's code
        stop(f"{trying}: {_first_line(error)}")
    if issubclass(recipe, Distill):
        names = classifier.class_names
        if changes.class_names is not None and names is not None and len(names) != classes:
            stop(f"--class-names: expected {classes} as the head has classes, got {len(names)}")
        keywords = with_teacher(keywords, settings, reader, classes, names, changes)
    try:
        built = recipe(backbone, channels, classes, **keywords)
    except Exception as error:
        stop(_as_option(error, parameters(recipe), settings["lr"]))
    metadata = RecipeMetadata(
        backbone=settings["backbone"],
        layers=tuple(layers),
        channels=tuple(channels),
        num_classes=classes,
        class_names=names,
        preprocess=preprocess if isinstance(preprocess, Preprocess) else None,
    )
    return Built(built.train(), metadata, preprocess)


def model_hash(built: Built) -> str:
    """Return a hash of the names and shapes of all weights, and of the preprocessing.

    Preprocessing that shows only its address, such as a function, is left out.
    """
    state = built.recipe.state_dict()
    shapes = sorted((name, tuple(getattr(value, "shape", ()))) for name, value in state.items())
    what = repr(shapes) + described(built.preprocess)
    return hashlib.sha256(what.encode("utf-8", "backslashreplace")).hexdigest()


def _as_option(error: Exception, known: Collection[str], lr: float | None) -> str:
    """Return an error in one line; if it is of a hyper-parameter, with the option that sets it."""
    line = _first_line(error)
    name = line.partition(":")[0].partition(" ")[0]
    if name not in known:
        return line
    return f"--lr: {line}" if lr is not None and name.endswith("learning_rate") else f"--set {line}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
