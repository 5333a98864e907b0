"""Loading before the first image: the device and the localizer on it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from wsolrefine import Classifier, Localizer, load_classifier
from wsolrefine._files import open_regular
from wsolrefine.cli.console import stop
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.models import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from wsolrefine.recipes import RecipeMetadata


class RecipeHeader(NamedTuple):
    """A file from ``train``: its metadata and its checksum."""

    path: Path
    metadata: RecipeMetadata
    sha256: str


def load_localizer(
    model: str | None,
    recipe: Path | RecipeHeader | None,
    method: str | None,
    layers: Sequence[str] | None,
    device: str,
) -> Localizer:
    """Load a classifier with a method, or a recipe, and try it once; stop if that fails.

    Args:
        model: name of the classifier; with a recipe, it allows a backbone that is the user's code.
        recipe: a file from ``train``, or its header; None: a classifier is loaded.
        method: name of the refinement; None: the default.
        layers: names of the layers whose features are used; None or empty: find them.
        device: its name, or ``auto``.

    """
    target = choose_device(device)
    if recipe is not None:
        return _load_recipe(recipe, model, target)
    classifier = load_model(model or DEFAULT_CLASSIFIER)
    try:
        localizer = Localizer(classifier, refine=method or DEFAULT, layers=layers or None)
        _try(localizer.to(target))  # a wrong --layer raises here
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        name, colon, reason = str(error).partition(":")
        stop(f"--layer:{reason}" if name == "layers" and colon else error)
    return localizer


def _load_recipe(recipe: Path | RecipeHeader, model: str | None, target: torch.device) -> Localizer:
    header = read_recipe(recipe, model) if isinstance(recipe, Path) else recipe
    from wsolrefine.recipes import load_recipe

    _import_from_working_folder()
    try:
        loaded = load_recipe(header.path, backbone=model).to(target)
        _try(loaded)
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    return loaded


def read_recipe(path: Path, model: str | None) -> RecipeHeader:
    """Read the header of a recipe's file, or stop.

    Args:
        path: the file.
        model: the ``--model`` option, which allows a backbone that is the user's code.

    """
    require_training("--recipe")
    from wsolrefine.recipes import read_metadata
    from wsolrefine.recipes.metadata import is_own_code

    if not path.is_file():
        stop(f"--recipe: expected a file from wsolrefine train, got {path}")
    try:
        metadata = read_metadata(path)
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    if model is None and is_own_code(metadata.backbone):
        stop(
            f"--model: expected {metadata.backbone}, the backbone of {path}, because it is your "
            "own code and a file must not choose which code runs; got none"
        )
    if model is not None and model != metadata.backbone:
        stop(f"--model: expected {metadata.backbone}, the backbone of {path}, got {model}")
    return RecipeHeader(path, metadata, digest)


def require_training(what: str) -> None:
    """Stop if a package of the extra ``train`` is missing."""
    for name in ("lightning", "safetensors"):
        if find_spec(name) is None:
            stop(f"{what} needs the package {name}: pip install 'wsolrefine[train]'", 1)


def choose_device(name: str) -> torch.device:
    """Return a device by name, or stop if there is none; ``auto`` prefers a GPU."""
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
    """Load a classifier by name, or stop; the message says which package is missing."""
    _import_from_working_folder()
    try:
        return load_classifier(name)
    except ImportError as error:
        stop(str(error).replace("spec:", f"{option}:", 1), 1)
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"{option} {name}: {str(error).removeprefix('spec: ')}")


def _import_from_working_folder() -> None:
    """Let ``module:callable`` find a file in the working folder."""
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.append(os.getcwd())  # noqa: PTH109


def _try(localizer: Localizer) -> None:
    gray = localizer.prepare_image(Image.new("RGB", (64, 64), "gray"))
    localizer.class_maps(localizer.prepare_batch([gray]))
