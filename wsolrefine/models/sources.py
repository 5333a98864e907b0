"""Where classifiers come from, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.efficientnet_lite import build_lite, preprocess_of_lite, pretrained_lite
from wsolrefine.models.from_timm import build_timm, preprocess_of_timm, pretrained_timm
from wsolrefine.models.from_torchvision import (
    build_torchvision,
    preprocess_of_torchvision,
    pretrained_torchvision,
)
from wsolrefine.models.from_transformers import pretrained_transformers
from wsolrefine.models.own_code import from_callable
from wsolrefine.models.preprocess import Preprocess
from wsolrefine.models.specs import EFFICIENTNET_LITE
from wsolrefine.models.zero_shot import zero_shot


class Source(NamedTuple):
    """A classifier as it comes, and its architecture for other weights.

    Attributes:
        spec: its name, see :func:`wsolrefine.load_classifier`.
        pretrained: loads it with its own weights, given the names of classes or None, which only
            models of texts need.
        build: a number of classes and a size of images to the architecture with random weights,
            None for those of the pretrained one; None: the model is built with its weights only.
        preprocess: an architecture to its preprocessing.

    """

    spec: str
    pretrained: Callable[[list[str] | None], Classifier]
    build: Callable[[int | None, tuple[int, int] | None], nn.Module] | None = None
    preprocess: Callable[[nn.Module], Preprocess] = lambda _: Preprocess()


def source_of(spec: str) -> Source:
    """Return where a classifier comes from; nothing is loaded yet.

    Raises:
        ValueError: ``spec`` has none of the forms of :func:`wsolrefine.load_classifier`.

    """
    source, _, name = spec.partition(":")
    if spec in EFFICIENTNET_LITE:
        return Source(
            spec,
            lambda _: pretrained_lite(spec),
            lambda number, _: build_lite(spec, number),
            lambda _: preprocess_of_lite(spec),
        )
    if not source or not name:
        raise ValueError(
            f"spec: expected {', '.join(map(repr, EFFICIENTNET_LITE))}, 'torchvision:NAME', "
            f"'timm:NAME', 'hf:NAME', 'clip:NAME' or 'package.module:callable', got {spec!r}"
        )
    if source == "torchvision":
        return Source(
            spec,
            lambda _: pretrained_torchvision(name),
            partial(build_torchvision, name),
            lambda _: preprocess_of_torchvision(name),
        )
    if source == "timm":
        return Source(
            spec,
            lambda _: pretrained_timm(name),
            partial(build_timm, name),
            lambda model: preprocess_of_timm(model, name),
        )
    if source == "hf":
        return Source(spec, lambda _: pretrained_transformers(name))
    if source == "clip":
        return Source(spec, partial(zero_shot, name))
    return Source(spec, lambda _: from_callable(spec))
