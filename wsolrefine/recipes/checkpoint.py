"""A trained recipe in one file: weights in safetensors, and in the header how to rebuild it."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, replace
from importlib import import_module
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from wsolrefine import __version__
from wsolrefine.models import Classifier, load_classifier
from wsolrefine.nn import FeatureList
from wsolrefine.recipes._recipe import Recipe
from wsolrefine.recipes.csoa import Csoa
from wsolrefine.recipes.metadata import (
    FORMAT,
    LIBRARIES,
    RecipeMetadata,
    is_own_code,
    read_metadata,
)
from wsolrefine.recipes.ornet import Ornet
from wsolrefine.recipes.sem_edges import SemEdges
from wsolrefine.recipes.spa import Spa
from wsolrefine.recipes.spol import Spol

RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe for recipe in (Spa, Ornet, Csoa, SemEdges, Spol)
}
"""The recipes by name."""

# These models have other layers if they are built without pretrained weights.
DIFFER_WITHOUT_WEIGHTS = ("torchvision:googlenet", "torchvision:inception_v3")


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

    Example:
        >>> metadata = RecipeMetadata(
        ...     "timm:resnet50", tuple(layers), tuple(channels), num_classes=200
        ... )  # doctest: +SKIP
        >>> save_recipe("spol.safetensors", recipe, metadata).recipe  # doctest: +SKIP
        'spol'

    """
    from safetensors.torch import save_file

    if RECIPES.get(getattr(recipe, "name", "")) is not type(recipe):
        raise TypeError(f"recipe: expected one of wsolrefine.recipes, got {type(recipe).__name__}")
    if part := next(iter(recipe.user_modules()), None):
        raise TypeError(f"recipe: expected no {part} of your own, got {recipe.name} with one")
    tensors = {}
    for key, value in recipe.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(f"recipe: expected tensors in its state, got {key}")
        # A copy, because safetensors rejects tensors that share memory.
        tensors[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    metadata = replace(
        metadata,
        recipe=recipe.name,
        hyper_parameters=dict(recipe.hparams),
        threshold=float(recipe.threshold),
        versions=_versions(),
    )
    header = {"format": FORMAT}
    for key, value in asdict(metadata).items():
        try:
            header[key] = json.dumps(value)
        except TypeError:
            raise TypeError(f"{key}: expected values that JSON can store, got {value!r}") from None
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # safetensors makes files unreadable for other users
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return metadata


def load_recipe(path: str | PathLike[str], *, backbone: str | None = None) -> Recipe:
    """Rebuild a recipe from a file of :func:`save_recipe`.

    The backbone is built from its name and loads its weights from the file, so nothing is
    downloaded (except for torchvision's googlenet and inception_v3). If the backbone is your own
    code (``package.module:callable``), name it: a file that somebody sent you cannot choose which
    code runs.

    Args:
        path: the file.
        backbone: name of the backbone, the same as in the file; None: that of the file, if it
            comes from a library.

    Returns:
        The recipe in evaluation mode on the CPU, with ``preprocess``, ``class_names`` and
        ``metadata``. It is a :class:`wsolrefine.Localizer`; on the same machine its results equal
        those of the saved recipe bit for bit.

    Raises:
        ImportError: the backbone's package is missing.
        OSError: the file cannot be read.
        ValueError: the file was not written by :func:`save_recipe`, its weights do not fit, or
            ``backbone`` is another one.

    Example:
        >>> recipe = load_recipe("spol.safetensors")  # doctest: +SKIP
        >>> recipe.open("photo.jpg").boxes  # doctest: +SKIP
        tensor([[[ 41.,  17., 388., 240.]]])

    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if backbone is not None and backbone != metadata.backbone:
        raise ValueError(f"backbone: expected {metadata.backbone!r} as in {path}, got {backbone!r}")
    if is_own_code(metadata.backbone) and backbone is None:
        raise ValueError(
            f"backbone: expected {metadata.backbone!r}, because it is your own code and {path} "
            "must not choose which code runs, got None"
        )
    classifier = _without_weights(metadata)
    features = FeatureList(classifier.model, metadata.layers)
    recipe = recipe_class(metadata.recipe)(
        features, list(metadata.channels), metadata.num_classes, **metadata.hyper_parameters
    )
    try:
        recipe.load_state_dict(load_file(path), strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path}: expected weights that fit its header, got {error}") from None
    recipe.preprocess = metadata.preprocess or classifier.preprocess
    recipe.class_names, recipe.metadata = metadata.class_names, metadata
    return recipe.eval()


def _without_weights(metadata: RecipeMetadata) -> Classifier:
    """Build the classifier without downloading weights, if possible."""
    spec = metadata.backbone
    source, _, name = spec.partition(":")
    if metadata.preprocess is None or source not in LIBRARIES or spec in DIFFER_WITHOUT_WEIGHTS:
        return load_classifier(spec)
    try:
        if source == "timm":
            model = import_module("timm").create_model(name, pretrained=False)
        else:
            model = import_module("torchvision.models").get_model(name, weights=None)
    except ImportError:
        return load_classifier(spec)  # its error names the package to install
    return Classifier(model.eval(), metadata.preprocess, None, spec)


def _versions() -> dict[str, str]:
    return {
        "wsolrefine": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
