"""A trained recipe in one file: weights in safetensors, and in the header how to rebuild it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from inspect import Parameter, signature
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from wsolrefine import __version__
from wsolrefine._options import check_kind, check_path, check_text, kind_of
from wsolrefine.localization.masks import check_threshold
from wsolrefine.models import (
    Classifier,
    architecture,
    is_own_code,
    load_classifier,
    must_be_named,
)
from wsolrefine.nn import FeatureList
from wsolrefine.recipes._header import check_options
from wsolrefine.recipes._recipe import Recipe
from wsolrefine.recipes.csoa import Csoa
from wsolrefine.recipes.distill import Distill
from wsolrefine.recipes.metadata import FORMAT, RecipeMetadata, read_metadata
from wsolrefine.recipes.ornet import Ornet
from wsolrefine.recipes.sem_edges import SemEdges
from wsolrefine.recipes.spa import Spa
from wsolrefine.recipes.spol import Spol

RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe for recipe in (Spa, Ornet, Csoa, SemEdges, Spol, Distill)
}
"""The recipes by name."""

_MODEL = "backbone.model."
"""In front of the names of the classifier's weights, with its head, in every recipe."""


def recipe_class(name: str) -> type[Recipe]:
    """Return the class of a recipe by its name.

    Raises:
        ValueError: there is no such recipe.

    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


def save_recipe(
    path: str | PathLike[str], recipe: Recipe, metadata: RecipeMetadata
) -> RecipeMetadata:
    """Save a recipe's weights, with everything that is needed to rebuild it.

    The file is written atomically. It contains no code and no pickle.

    Args:
        path: the file, usually ``NAME.safetensors``.
        recipe: a recipe of ``wsolrefine.recipes``.
        metadata: how the recipe was built; name, hyper-parameters, threshold and versions are
            filled in.

    Returns:
        The saved ``metadata``.

    Raises:
        OSError: the file cannot be written.
        TypeError: ``recipe`` is not a recipe, or has a state or hyper-parameter that cannot be
            saved.
        ValueError: a weight is NaN or infinite, or the recipe's threshold is not in [0, 1).

    Example:
        >>> metadata = RecipeMetadata(
        ...     "timm:resnet50", tuple(layers), tuple(channels), num_classes=200
        ... )  # doctest: +SKIP
        >>> save_recipe("spol.safetensors", recipe, metadata).recipe  # doctest: +SKIP
        'spol'

    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    check_path("path", path)
    check_kind("metadata", metadata, RecipeMetadata, "a RecipeMetadata")
    if RECIPES.get(getattr(recipe, "name", "")) is not type(recipe):
        raise TypeError(f"recipe: expected one of wsolrefine.recipes, got {kind_of(recipe)}")
    if part := next(iter(recipe.user_modules()), None):
        raise TypeError(f"recipe: expected no {part} of your own, got {recipe.name} with one")
    tensors = {}
    for key, value in recipe.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise TypeError(f"recipe: expected tensors in its state, got {key}")
        if (bad := _not_finite(value, isinstance(value, nn.Parameter))) is not None:
            raise ValueError(f"recipe: expected finite weights, got {bad} in {key}")
        # A copy, because safetensors rejects tensors that share memory.
        tensors[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    metadata = replace(
        metadata,
        recipe=recipe.name,
        hyper_parameters=dict(recipe.hparams),
        threshold=check_threshold(recipe.threshold),
        versions=_versions(),
    )
    header = {"format": FORMAT}
    for key, value in asdict(metadata).items():
        try:
            header[key] = json.dumps(value)
        except TypeError:
            raise TypeError(f"{key}: expected values that JSON can store, got {value!r}") from None
    target = Path(path)
    # The commands know this form of a name: they remove what a killed run has left.
    name = f".wsolrefine-tmp-{os.getpid()}-{time.time_ns()}{target.suffix}"
    temporary = target.with_name(name)
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # safetensors makes files unreadable for other users
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(mode)
        temporary.replace(target)
    except SafetensorError as error:  # a full disk
        raise OSError(f"{target}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return metadata


def load_recipe(path: str | PathLike[str], *, backbone: str | None = None) -> Recipe:
    """Rebuild a recipe from a file of :func:`save_recipe`.

    The backbone is built from its name and loads its weights from the file, so nothing is
    downloaded. A file that somebody sent you cannot choose which code runs, what is downloaded or
    which folder is read: if the backbone is your own code (``package.module:callable``), or is more
    than the plain name of an architecture (``timm:hf-hub:owner/name``), name it.

    Args:
        path: the file.
        backbone: name of the backbone, the same as in the file; None: that of the file, if it is
            the default classifier or an architecture of timm or torchvision.

    Returns:
        The recipe in evaluation mode on the CPU, with ``threshold``, ``preprocess``,
        ``class_names`` and ``metadata``. It is a :class:`wsolrefine.Localizer`; on the same machine
        its results equal those of the saved recipe bit for bit.

    Raises:
        ImportError: the backbone's package is missing.
        OSError: the file cannot be read.
        ValueError: the file was not written by :func:`save_recipe`, its weights do not fit, are
            not finite or of another dtype, or ``backbone`` is another one.

    Example:
        >>> recipe = load_recipe("spol.safetensors")  # doctest: +SKIP
        >>> recipe.open("photo.jpg").boxes  # doctest: +SKIP
        tensor([[[ 41.,  17., 388., 240.]]])

    """
    from safetensors.torch import load_file

    if backbone is not None:
        check_text("backbone", backbone)
    metadata = read_metadata(path)
    if backbone is not None and backbone != metadata.backbone:
        raise ValueError(f"backbone: expected {metadata.backbone!r} as in {path}, got {backbone!r}")
    if backbone is None and (reason := must_be_named(metadata.backbone)) is not None:
        raise ValueError(
            f"backbone: expected {metadata.backbone!r}, because {reason} ({path}), got None"
        )
    options = metadata.hyper_parameters
    try:
        recipe_type = recipe_class(metadata.recipe)
        defaults = {
            name: parameter.default
            for name, parameter in signature(recipe_type).parameters.items()
            if parameter.default is not Parameter.empty
        }
        check_options(options, defaults)
        weights = load_file(path)
        classifier = _without_weights(metadata, weights)
        stages = FeatureList(
            classifier.model, metadata.layers, call=classifier.call, logits=classifier.logits
        )
        arguments = stages, list(metadata.channels)
        with torch.device("meta"):  # first, so that a header cannot ask for any amount of memory
            planned = recipe_type(*arguments, metadata.num_classes, **options)
        _check_weights(planned, weights)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    recipe = recipe_type(*arguments, metadata.num_classes, **options)
    recipe.load_state_dict(weights, strict=True)
    recipe.preprocess = metadata.preprocess or classifier.preprocess
    recipe.class_names, recipe.metadata = metadata.class_names, metadata
    recipe.threshold = metadata.threshold  # which may have been chosen after the training
    return recipe.eval()


def _check_weights(planned: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise unless weights have the names, shapes and kinds of a module, and are finite."""
    expected = planned.state_dict(keep_vars=True)
    for key in sorted(expected.keys() ^ weights.keys()):
        got = "one that it does not have" if key in weights else "none"
        raise ValueError(f"expected weights that fit its header, got {got}: {key}")
    for key, value in expected.items():
        shape, dtype = tuple(weights[key].shape), weights[key].dtype
        if shape != tuple(value.shape):
            raise ValueError(
                f"expected weights that fit its header, got {key} of shape {shape} instead of "
                f"{tuple(value.shape)}"
            )
        fits = dtype.is_floating_point if value.is_floating_point() else dtype == value.dtype
        if not fits:
            kind = "a floating-point dtype" if value.is_floating_point() else value.dtype
            raise ValueError(f"{key}: expected {kind}, got {dtype}")
        if (bad := _not_finite(weights[key], isinstance(value, nn.Parameter))) is not None:
            raise ValueError(f"{key}: expected finite weights, got {bad}")


def _not_finite(value: Tensor, parameter: bool) -> str | None:
    """Return "NaN" or "infinity" if a weight holds it; buffers may hold infinity, as masks do."""
    if not value.is_floating_point():
        return None
    if value.isnan().any():
        return "NaN"
    return "infinity" if parameter and value.isinf().any() else None


def _without_weights(metadata: RecipeMetadata, weights: Mapping[str, Tensor]) -> Classifier:
    """Build the classifier; what comes from a library is built without downloading weights.

    Its head has the classes of the weights: those of the user's own checkpoint, if it was trained
    from one.
    """
    spec = metadata.backbone
    if is_own_code(spec) or spec.startswith("hf:"):
        return load_classifier(spec)
    if spec.startswith("clip:"):  # whose head is made of texts, and then replaced
        texts = weights[f"{_MODEL}head.weight"].shape[0]
        return load_classifier(spec, class_names=[f"class {text}" for text in range(texts)])
    model = {
        name.removeprefix(_MODEL): value
        for name, value in weights.items()
        if name.startswith(_MODEL)
    }
    return architecture(spec, metadata.preprocess, model)


def _versions() -> dict[str, str]:
    return {
        "wsolrefine": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
