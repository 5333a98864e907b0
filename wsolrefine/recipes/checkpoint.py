"""A trained recipe in one file: weights in safetensors, and in its header how to build it again."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from wsolrefine import __version__
from wsolrefine.models import Classifier, Preprocess, load_classifier
from wsolrefine.nn import FeatureList

if TYPE_CHECKING:
    from PIL.Image import Image

RECIPES = {
    "spa": "Spa",
    "ornet": "Ornet",
    "csoa": "Csoa",
    "sem_edges": "SemEdges",
    "spol": "Spol",
}
"""Names of the recipes, and of their classes in ``wsolrefine.recipes``."""

FORMAT = "wsolrefine trained recipe 1"
OF_OTHERS = ("torchvision", "timm")
# Their builders add or take away layers where they load weights.
DIFFER_WITHOUT_WEIGHTS = ("torchvision:googlenet", "torchvision:inception_v3")


@dataclass(frozen=True)
class About:
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


class Trained(NamedTuple):
    """A recipe as it was trained, in evaluation mode on the CPU.

    Attributes:
        recipe: images ``(B, 3, H, W)`` to ``Localization(logits, maps)``.
        preprocess: a PIL image to ``(3, H, W)``.
        class_names: one for each class, or None.
        about: what else its file says.

    """

    recipe: Any
    preprocess: Callable[[Image], Tensor]
    class_names: list[str] | None
    about: About


def is_own_code(backbone: str) -> bool:
    """Tell whether a backbone is code of the user's own, ``package.module:callable``.

    Example:
        >>> is_own_code("timm:resnet50"), is_own_code("my_models:birds")
        (False, True)

    """
    return backbone.partition(":")[0] not in (*OF_OTHERS, "efficientnet-lite0")


def recipe_class(name: str) -> Any:
    """Return the class of a recipe by its name in :data:`RECIPES`.

    Raises:
        ValueError: there is no such recipe.

    """
    if name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {name!r}")
    return getattr(import_module("wsolrefine.recipes"), RECIPES[name])


def save_trained(path: str | PathLike[str], recipe: nn.Module, about: About) -> About:
    """Save a recipe's weights with all that is needed to build it again.

    The file appears whole or not at all. It holds no code and no pickle.

    Args:
        path: the file, by custom ``NAME.safetensors``.
        recipe: one of ``wsolrefine.recipes``.
        about: how it was made; name, hyper-parameters, threshold and versions are filled in.

    Returns:
        ``about`` as it was saved.

    Raises:
        OSError: the file cannot be written.
        TypeError: ``recipe`` is no recipe, or has a state or hyper-parameter that no file can hold.

    """
    from safetensors.torch import save_file

    names = {value: key for key, value in RECIPES.items()}
    name = names.get(type(recipe).__name__)
    if name is None:
        raise TypeError(f"recipe: expected one of wsolrefine.recipes, got {type(recipe).__name__}")
    for part in ("classifier", "embedding", "evaluator"):
        if getattr(recipe, part, None) is not None and not getattr(recipe, "own_evaluator", False):
            raise TypeError(f"recipe: expected none with a {part} of your own, got {name}")
    tensors = {}
    for key, value in recipe.state_dict().items():
        if not isinstance(value, Tensor):
            raise TypeError(f"recipe: expected tensors in its state, got {key}")
        # A copy: safetensors refuses two names for one memory.
        tensors[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    about = replace(
        about,
        recipe=name,
        hyper_parameters=dict(getattr(recipe, "hparams", {})),
        threshold=float(getattr(recipe, "threshold", 0.5)),
        versions=_versions(),
    )
    header = {"format": FORMAT}
    for key, value in asdict(about).items():
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
    return about


def read_about(path: str | PathLike[str]) -> About:
    """Read what a file of :func:`save_trained` says of its recipe, without its weights.

    Args:
        path: the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file.

    Example:
        >>> read_about("spol.safetensors").class_names  # doctest: +SKIP
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
        said = {key: _as_tuples(json.loads(header[key])) for key in About.__annotations__}
        names, preprocess = said["class_names"], said["preprocess"]
        said["class_names"] = None if names is None else list(names)
        said["preprocess"] = None if preprocess is None else Preprocess(**preprocess)
        return About(**said)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: expected a whole header, got {why}") from None


def load_trained(path: str | PathLike[str], *, backbone: str | None = None) -> Trained:
    """Build a recipe again from one file of :func:`save_trained`.

    The backbone is built by name and gets its weights from the file: nothing is downloaded, except
    for torchvision's googlenet and inception_v3. A backbone that is code of your own
    (``package.module:callable``) is run only if you name it too: a file from elsewhere must not
    choose what runs here.

    Args:
        path: the file.
        backbone: the same as in the file; None: that of the file, if it is a library's.

    Returns:
        ``Trained(recipe, preprocess, class_names, about)``, whose outputs are those of the recipe
        that was saved, bit for bit on the same machine.

    Raises:
        ImportError: the backbone's package is missing.
        OSError: the file cannot be read.
        ValueError: it is no such file, its weights do not fit, or ``backbone`` is another one.

    Example:
        >>> recipe, preprocess, names, about = load_trained(
        ...     "spol.safetensors"
        ... )  # doctest: +SKIP
        >>> found = recipe(preprocess(image)[None])  # doctest: +SKIP
        >>> mask = found.maps > recipe.threshold  # doctest: +SKIP

    """
    from safetensors.torch import load_file

    about = read_about(path)
    if backbone is not None and backbone != about.backbone:
        raise ValueError(f"backbone: expected {about.backbone!r} as in {path}, got {backbone!r}")
    if is_own_code(about.backbone) and backbone is None:
        raise ValueError(
            f"backbone: expected {about.backbone!r} to be named, as it is code of your own that "
            f"{path} would run, got none"
        )
    classifier = _without_weights(about)
    features = FeatureList(classifier.model, about.layers)
    recipe = recipe_class(about.recipe)(
        features, list(about.channels), about.num_classes, **about.hyper_parameters
    )
    try:
        recipe.load_state_dict(load_file(path), strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path}: expected weights that fit its header, got {error}") from None
    preprocess = about.preprocess or classifier.preprocess
    return Trained(recipe.eval(), preprocess, about.class_names, about)


def _without_weights(about: About) -> Classifier:
    """Build the classifier; its weights are about to be replaced, so none are downloaded."""
    spec = about.backbone
    source, _, name = spec.partition(":")
    if about.preprocess is None or source not in OF_OTHERS or spec in DIFFER_WITHOUT_WEIGHTS:
        return load_classifier(spec)
    try:
        if source == "timm":
            model = import_module("timm").create_model(name, pretrained=False)
        else:
            model = import_module("torchvision.models").get_model(name, weights=None)
    except ImportError:
        return load_classifier(spec)  # which says what to install
    return Classifier(model.eval(), about.preprocess, None, spec)


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
