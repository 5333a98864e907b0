"""Before the first image: the device, and the localizer on it, tried once."""

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
from wsolrefine.cli.console import stop
from wsolrefine.localization.methods import DEFAULT

if TYPE_CHECKING:
    from wsolrefine.recipes import RecipeMetadata


DEFAULT_MODEL = "efficientnet-lite0"


class RecipeHead(NamedTuple):
    """A file of ``train``: what its header says, and the sum of all its bytes."""

    path: Path
    metadata: RecipeMetadata
    sha256: str


def load_localizer(
    model: str | None,
    recipe: Path | RecipeHead | None,
    method: str | None,
    layers: Sequence[str] | None,
    device: str,
) -> Localizer:
    """Load a classifier with a method, or a recipe, and try it once; or stop with the reason.

    Args:
        model: of a classifier; with a recipe it allows a backbone that is code of the user's own.
        recipe: a file of ``train``, or what its head says; None: a classifier.
        method: name of the refinement; None: the default.
        layers: names of layers whose features are used; None or empty: they are found.
        device: its name, or ``auto``.

    """
    place = choose_device(device)
    if recipe is not None:
        return _load_recipe(recipe, model, place)
    classifier = load_model(model or DEFAULT_MODEL)
    try:
        localizer = Localizer(classifier, refine=method or DEFAULT, layers=layers or None)
        _try(localizer.to(place))  # a wrong --layer raises here
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        stop(error)
    return localizer


def _load_recipe(recipe: Path | RecipeHead, model: str | None, place: torch.device) -> Localizer:
    head = read_recipe(recipe, model) if isinstance(recipe, Path) else recipe
    from wsolrefine.recipes import load_recipe

    _import_from_here()
    try:
        found = load_recipe(head.path, backbone=model).to(place)
        _try(found)
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    return found


def read_recipe(path: Path, model: str | None) -> RecipeHead:
    """Read what a file says of its recipe, or stop with the reason.

    Args:
        path: the file.
        model: the ``--model`` option: allows a backbone that is code of the user's own.

    """
    require_training("--recipe")
    from wsolrefine.recipes import read_metadata
    from wsolrefine.recipes.checkpoint import is_own_code

    if not path.is_file():
        stop(f"--recipe: expected a file of wsolrefine train, got {path}")
    try:
        metadata = read_metadata(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    if model is None and is_own_code(metadata.backbone):
        stop(
            f"--model: expected {metadata.backbone}, the backbone of {path} and code of your own, "
            "which no file gets to run by itself; got none"
        )
    if model is not None and model != metadata.backbone:
        stop(f"--model: expected {metadata.backbone}, the backbone of {path}, got {model}")
    return RecipeHead(path, metadata, digest)


def require_training(what: str) -> None:
    """Stop where a package of the extra ``train`` is missing."""
    for name in ("lightning", "safetensors"):
        if find_spec(name) is None:
            stop(f"{what} needs the package {name}: pip install 'wsolrefine[train]'", 1)


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
    _import_from_here()
    try:
        return load_classifier(name)
    except ImportError as error:
        stop(error, 1)
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"{option} {name}: {error}")


def _import_from_here() -> None:
    """Let ``module:callable`` find a file of the working folder."""
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.append(os.getcwd())  # noqa: PTH109


def _try(localizer: Localizer) -> None:
    gray = localizer.prepare_image(Image.new("RGB", (64, 64), "gray"))[None]
    localizer.class_maps(gray.to(localizer.device))
