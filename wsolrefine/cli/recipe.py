"""The ``--recipe`` option: a file of ``train`` in place of a classifier and a method."""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from wsolrefine.cli.console import stop
from wsolrefine.cli.prepare import choose_device

if TYPE_CHECKING:
    from wsolrefine.recipes.checkpoint import About, Trained

EDGES = "sem_edges"
"""The recipe whose maps are edges: no mask, no box."""


class Found(NamedTuple):
    """A file of ``train`` that is there: what it says, and the sum of all its bytes."""

    path: Path
    about: About
    sha256: str


class Ready(NamedTuple):
    """A recipe on its device."""

    trained: Trained
    device: torch.device


class Looked(NamedTuple):
    """Class scores ``(B, K)`` and maps ``(B, n, h, w)`` in [0, 1] of n classes, on the CPU."""

    logits: Tensor
    labels: Tensor
    maps: Tensor


def find_recipe(path: Path, model: str | None) -> Found:
    """Read what a file says of its recipe, or stop with the reason.

    Args:
        path: the file.
        model: the ``--model`` option: allows a backbone that is code of the user's own.

    """
    for name in ("lightning", "safetensors"):
        if find_spec(name) is None:
            stop(f"--recipe needs the package {name}: pip install 'wsolrefine[train]'", 1)
    from wsolrefine.recipes.checkpoint import is_own_code, read_about

    if not path.is_file():
        stop(f"--recipe: expected a file of wsolrefine train, got {path}")
    try:
        about = read_about(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    if model is None and is_own_code(about.backbone):
        stop(
            f"--model: expected {about.backbone}, the backbone of {path} and code of your own, "
            "which no file gets to run by itself; got none"
        )
    if model is not None and model != about.backbone:
        stop(f"--model: expected {about.backbone}, the backbone of {path}, got {model}")
    return Found(path, about, digest)


def prepare_recipe(found: Found, model: str | None, device: str) -> Ready:
    """Build the recipe and try it once, or stop with the reason."""
    from wsolrefine.recipes.checkpoint import load_trained

    place = choose_device(device)
    if os.getcwd() not in sys.path:  # noqa: PTH109 - so that module:callable finds a file here
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        trained = load_trained(found.path, backbone=model)
        trained.recipe.to(place)
        grey = trained.preprocess(Image.new("RGB", (64, 64), "gray"))[None]
        with torch.no_grad():
            trained.recipe(grey.to(place))
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        stop(f"--recipe: {error}", 1)
    return Ready(trained, place)


def look(ready: Ready, images: Tensor, wanted: int | list[int] | Tensor) -> Looked:
    """Return the maps of some classes of each image of a batch.

    Args:
        ready: the recipe.
        images: ``(B, 3, H, W)``.
        wanted: the K of the best K classes; or which classes, for all images; or a label for each
            image, ``(B,)``.

    """
    images = images.to(ready.device)
    recipe = ready.trained.recipe
    with torch.no_grad():
        logits, best = recipe(images)
        if isinstance(wanted, int):
            labels = logits.topk(wanted).indices
        elif isinstance(wanted, list):
            labels = torch.tensor([wanted] * len(images), device=images.device)
        else:
            labels = wanted.to(images.device)[:, None]
        # One pass has the map of the predicted class already, which is most often all.
        predicted = torch.equal(labels, logits.argmax(1, keepdim=True))
        maps = [best] if predicted else [recipe(images, column).maps for column in labels.T]
    return Looked(logits.float().cpu(), labels.cpu(), torch.stack(maps, 1).float().cpu())
