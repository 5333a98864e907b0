"""A trained recipe in one file: weights in safetensors, and in its header how to build it again."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsolrefine import __version__
from wsolrefine.models import Classifier, Preprocess, load_classifier
from wsolrefine.nn import FeatureList
from wsolrefine.recipes._recipe import Recipe
from wsolrefine.recipes.csoa import Csoa
from wsolrefine.recipes.ornet import Ornet
from wsolrefine.recipes.sem_edges import SemEdges
from wsolrefine.recipes.spa import Spa
from wsolrefine.recipes.spol import Spol

RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe for recipe in (Spa, Ornet, Csoa, SemEdges, Spol)
}
"""The recipes by name."""

FORMAT = "wsolrefine trained recipe 1"
OF_OTHERS = ("torchvision", "timm")
# Their builders add or take away layers where they load weights.
DIFFER_WITHOUT_WEIGHTS = ("torchvision:googlenet", "torchvision:inception_v3")


@dataclass(frozen=True)
class RecipeMetadata:
    """What a file says of its recipe.

    Args:
        backbone: the classifier whose layers it uses, as :func:`wsolrefine.load_classifier` takes
            it.
        layers: names of these layers, for :class:`wsolrefine.nn.FeatureList`.
        channels: channels of each layer.
        num_classes: number of classes.
        class_names: one for each class; None if there are none.
        preprocess: of images; None: that of the classifier.
        recipe: name of the recipe; filled in when it is saved.
        hyper_parameters: likewise, all that the recipe was made with.
        threshold: likewise, the value of a map above which a pixel is object.
        versions: likewise, of the libraries.

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


def is_own_code(backbone: str) -> bool:
    """Tell whether a backbone is code of the user's own, ``package.module:callable``.

    Example:
        >>> is_own_code("timm:resnet50"), is_own_code("my_models:birds")
        (False, True)

    """
    return backbone.partition(":")[0] not in (*OF_OTHERS, "efficientnet-lite0")


def recipe_class(name: str) -> type[Recipe]:
    """Return the class of a recipe by its name in :data:`RECIPES`.

    Raises:
        ValueError: there is no such recipe.

    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


def save_recipe(
    path: str | PathLike[str], recipe: Recipe, metadata: RecipeMetadata
) -> RecipeMetadata:
    """Save a recipe's weights with all that is needed to build it again.

    The file appears whole or not at all. It holds no code and no pickle.

    Args:
        path: the file, by custom ``NAME.safetensors``.
        recipe: one of ``wsolrefine.recipes``.
        metadata: how it was made; name, hyper-parameters, threshold and versions are filled in.

    Returns:
        ``metadata`` as it was saved.

    Raises:
        OSError: the file cannot be written.
        TypeError: ``recipe`` is no recipe, or has a state or hyper-parameter that no file can hold.

    """
    from safetensors.torch import save_file

    if RECIPES.get(getattr(recipe, "name", "")) is not type(recipe):
        raise TypeError(f"recipe: expected one of wsolrefine.recipes, got {type(recipe).__name__}")
    for part in recipe.user_modules():
        raise TypeError(f"recipe: expected none with a {part} of your own, got {recipe.name}")
    tensors = {}
    for key, value in recipe.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(f"recipe: expected tensors in its state, got {key}")
        # A copy: safetensors refuses two names for one memory.
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
            raise TypeError(f"{key}: expected what JSON can say, got {value!r}") from None
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # safetensors would let nobody else read the file
        save_file(tensors, temporary, metadata=header)
        temporary.chmod(mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return metadata


def read_metadata(path: str | PathLike[str]) -> RecipeMetadata:
    """Read what a file of :func:`save_recipe` says of its recipe, without its weights.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file.

    Example:
        >>> read_metadata("spol.safetensors").class_names  # doctest: +SKIP
        ['cat', 'dog']

    """
    from safetensors import SafetensorError, safe_open

    with Path(path).open("rb"):  # the system's own words where it is missing or may not be read
        pass
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a file of safetensors, got {error}") from None
    if header.get("format") != FORMAT:
        got = header.get("format", "no format")
        raise ValueError(f"{path}: expected the header {FORMAT!r}, got {got!r}")
    try:
        said = {key: _as_tuples(json.loads(header[key])) for key in RecipeMetadata.__annotations__}
        names, preprocess = said["class_names"], said["preprocess"]
        said["class_names"] = None if names is None else list(names)
        said["preprocess"] = None if preprocess is None else Preprocess(**preprocess)
        return RecipeMetadata(**said)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: expected a whole header, got {why}") from None


def load_recipe(path: str | PathLike[str], *, backbone: str | None = None) -> Recipe:
    """Build a recipe again from one file of :func:`save_recipe`.

    The backbone is built by name and gets its weights from the file: nothing is downloaded, except
    for torchvision's googlenet and inception_v3. A backbone that is code of your own
    (``package.module:callable``) is run only if you name it too: a file from elsewhere must not
    choose what runs here.

    Args:
        path: the file.
        backbone: the same as in the file; None: that of the file, if it is a library's.

    Returns:
        The recipe in evaluation mode on the CPU, with ``preprocess``, ``class_names`` and
        ``metadata``: a :class:`wsolrefine.Localizer`, whose results are those of the recipe that
        was saved, bit for bit on the same machine.

    Raises:
        ImportError: the backbone's package is missing.
        OSError: the file cannot be read.
        ValueError: it is no such file, its weights do not fit, or ``backbone`` is another one.

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
            f"backbone: expected {metadata.backbone!r} to be named, as it is code of your own that "
            f"{path} would run, got none"
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
    """Build the classifier; its weights are replaced next, so none are downloaded."""
    spec = metadata.backbone
    source, _, name = spec.partition(":")
    if metadata.preprocess is None or source not in OF_OTHERS or spec in DIFFER_WITHOUT_WEIGHTS:
        return load_classifier(spec)
    try:
        if source == "timm":
            model = import_module("timm").create_model(name, pretrained=False)
        else:
            model = import_module("torchvision.models").get_model(name, weights=None)
    except ImportError:
        return load_classifier(spec)  # which says what to install
    return Classifier(model.eval(), metadata.preprocess, None, spec)


def _as_tuples(value: Any) -> Any:
    """Turn JSON's lists back into the tuples that they were."""
    if isinstance(value, list):
        return tuple(_as_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return value


def _versions() -> dict[str, str]:
    return {
        "wsolrefine": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
