"""Loading before the first image: the device and the localizer on it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from wsolrefine import Classifier, Localizer, load_classifier
from wsolrefine._files import open_regular
from wsolrefine.cli.changes import Changes, as_option
from wsolrefine.cli.console import stop
from wsolrefine.cli.files import kind_of, system_error
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.models import DEFAULT_CLASSIFIER, is_own_code, must_be_named

if TYPE_CHECKING:
    from wsolrefine.recipes import RecipeMetadata


RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that Lightning takes for the number of this process."""


NONE = Changes()


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
    changes: Changes = NONE,
) -> Localizer:
    """Load a classifier with a method, or a recipe, and try it once; stop if that fails.

    Args:
        model: name of the classifier; with a recipe, it allows a backbone that is the user's code.
        recipe: a file from ``train``, or its header; None: a classifier is loaded.
        method: name of the refinement; None: the default.
        layers: names of the layers whose features are used; None or empty: find them.
        device: its name, or ``auto``.
        changes: of the classifier.

    """
    target = choose_device(device)
    if recipe is not None:
        return _load_recipe(recipe, model, target)
    classifier = load_model(DEFAULT_CLASSIFIER if model is None else model, changes=changes)
    try:
        localizer = Localizer(
            classifier, refine=DEFAULT if method is None else method, layers=layers or None
        )
        _try(localizer.to(target))  # a wrong --layer raises here
    except Exception as error:  # the model may be the user's code, and raise anything
        stop(as_option(str(error)) or own_error(error))
    return localizer


def _load_recipe(recipe: Path | RecipeHeader, model: str | None, target: torch.device) -> Localizer:
    header = read_recipe(recipe, model) if isinstance(recipe, Path) else recipe
    from wsolrefine.recipes import load_recipe

    try:
        import_own_code(model or "")
        loaded = load_recipe(header.path, backbone=model).to(target)
        _try(loaded)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        stop(f"--recipe: {own_error(error)}", 1)
    return loaded


def read_recipe(path: Path, model: str | None) -> RecipeHeader:
    """Read the header of a recipe's file, or stop.

    Args:
        path: the file.
        model: the ``--model`` option, which allows a backbone that is the user's code.

    """
    require_training("--recipe")
    from wsolrefine.recipes import read_metadata
    from wsolrefine.recipes.checkpoint import recipe_class

    if kind_of(path) != "file":
        stop(f"--recipe: expected a file from wsolrefine train, got {path} ({kind_of(path)})")
    try:
        metadata = read_metadata(path)
        recipe_class(metadata.recipe)
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        stop(f"--recipe: {system_error(error) if isinstance(error, OSError) else error}", 1)
    if model is None and (reason := must_be_named(metadata.backbone)) is not None:
        stop(
            f"--model: expected {metadata.backbone}, the backbone of {path}, because {reason}; "
            "got none"
        )
    if model is not None and model != metadata.backbone:
        stop(f"--model: expected {metadata.backbone}, the backbone of {path}, got {model}")
    return RecipeHeader(path, metadata, digest)


def require_training(what: str) -> None:
    """Stop if a package of the extra ``train`` is missing."""
    for name in ("lightning", "safetensors"):
        if find_spec(name) is None:
            stop(f"{what} needs the package {name}: pip install 'wsolrefine[train]'", 1)
    for variable in RANKS:  # which Lightning converts as it is imported
        value = os.environ.get(variable, "0")
        try:
            int(value)
        except ValueError:
            stop(
                f"{variable}: expected an integer, or no such variable in the environment, got "
                f"{value!r}, which Lightning cannot read: unset it"
            )


def choose_device(name: str) -> torch.device:
    """Return a device by name, or stop if there is none; ``auto`` prefers a GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        made = torch.zeros(1, device=name)
        made.item()  # the device meta has no numbers
        return made.device
    except Exception as error:  # an ImportError for devices that are an extension of torch
        reason = str(error).splitlines()[0].partition(". ")[0]
        stop(
            f"--device: expected cpu, cuda or another device of this machine, got {name} ({reason})"
        )


def load_model(name: str, option: str = "--model", changes: Changes = NONE) -> Classifier:
    """Load a classifier by name, or stop; the message says which package is missing.

    A module of the user's own may lie in the working folder. The folder is on the search path only
    while this module is imported; what it imports later must be part of it or be installed.

    Args:
        name: as :func:`wsolrefine.load_classifier` takes it.
        option: the option that it was given with.
        changes: of its weights, its names of classes or its preprocessing.

    """
    if not name.strip():
        stop(f"{option}: expected the name of a classifier, got {name!r}")
    try:
        import_own_code(name)
        return load_classifier(name, **changes.arguments())
    except ImportError as error:
        reason = str(error).replace("spec:", f"{option}:", 1)
        stop(reason if name in reason else f"{option} {name}: {reason}", 1)
    except (Exception, SystemExit) as error:  # the library's or the user's code, see own_error
        stop(as_option(own_error(error)) or f"{option} {name}: {own_error(error)}")


def import_own_code(backbone: str) -> None:
    """Import the module of ``module:callable``, from the working folder too; else do nothing.

    Raises:
        ImportError: there is no such module, or it cannot be imported.

    """
    module, colon, attribute = backbone.partition(":")
    if not (colon and module and attribute and is_own_code(backbone)) or "" in module.split("."):
        return
    with working_folder():
        try:
            import_module(module)
        except ImportError as error:
            expected = f"spec: expected {backbone!r} to be importable"
            raise ImportError(f"{expected}, got {error}") from error


@contextlib.contextmanager
def working_folder() -> Iterator[None]:
    """Let imports find the working folder, behind everything that is installed."""
    folder = os.getcwd()  # noqa: PTH109 - sys.path has text
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the imported module has removed it
            sys.path.remove(folder)


def own_error(error: BaseException) -> str:
    """Return an error of the user's code in one line, with its place if its text does not tell."""
    lines = str(error).removeprefix("spec: ").splitlines()
    plain = (AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError)
    if isinstance(error, plain) and lines:
        return lines[0]
    *_, place = (None, *traceback.extract_tb(error.__traceback__))
    where = f", {os.path.basename(place.filename)} line {place.lineno}" if place else ""  # noqa: PTH119
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}{where}"


def _try(localizer: Localizer) -> None:
    gray = localizer.prepare_image(Image.new("RGB", (64, 64), "gray"))
    localizer.class_maps(localizer.prepare_batch([gray]))
