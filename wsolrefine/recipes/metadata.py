"""What the file of a recipe says of it: its header, read without the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from wsolrefine._files import open_regular
from wsolrefine._options import check_path
from wsolrefine.models import Preprocess
from wsolrefine.recipes._header import parse

FORMAT = "wsolrefine trained recipe 1"


@dataclass(frozen=True)
class RecipeMetadata:
    """The header of a recipe's file. The last four fields are filled in when it is saved.

    Args:
        backbone: name of the classifier, for :func:`wsolrefine.load_classifier`.
        layers: names of its layers, for :class:`wsolrefine.nn.FeatureList`.
        channels: channels of each layer.
        num_classes: number of classes.
        class_names: a name for each class; None if there are none.
        preprocess: preprocessing of images; None: that of the classifier.
        recipe: name of the recipe.
        hyper_parameters: all hyper-parameters of the recipe.
        threshold: value of a map above which a pixel is object.
        versions: versions of the libraries.

    """

    backbone: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    num_classes: int
    class_names: list[str] | None = None
    preprocess: Preprocess | None = None
    recipe: str = ""
    hyper_parameters: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.5
    versions: dict[str, str] = field(default_factory=dict)


def read_metadata(path: str | PathLike[str]) -> RecipeMetadata:
    """Read the header of a file of :func:`wsolrefine.recipes.save_recipe`, without the weights.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file was not written by :func:`wsolrefine.recipes.save_recipe`.

    Example:
        >>> read_metadata("spol.safetensors").class_names  # doctest: +SKIP
        ['cat', 'dog']

    """
    from safetensors import SafetensorError, safe_open

    check_path("path", path)
    with open_regular(path):  # for the usual OSError if it is missing, unreadable, or no file
        pass
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, got {error}") from None
    if header.get("format") != FORMAT:
        got = header.get("format", "no format")
        raise ValueError(f"{path}: expected the header {FORMAT!r}, got {got!r}")
    try:
        return RecipeMetadata(**parse(header, RecipeMetadata.__annotations__))
    except ValueError as error:
        raise ValueError(f"{path}: expected a complete header, got {error}") from None
