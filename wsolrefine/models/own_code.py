"""Classifiers of the user's own code."""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter

from torch import nn

from wsolrefine.models.classifier import Classifier
from wsolrefine.models.preprocess import Preprocess


def from_callable(spec: str) -> Classifier:
    """Import ``package.module:callable`` and call it, see :func:`wsolrefine.load_classifier`."""
    module, _, attribute = spec.partition(":")
    if "" in module.split("."):
        raise ValueError(f"spec: expected the full name of a module, got {module!r} in {spec!r}")
    try:
        target = attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise type(error)(f"spec: expected {spec!r} to be importable, got {error}") from error
    if not (callable(target) or isinstance(target, Classifier)):
        got = f"{type(target).__name__} {target!r}"[:80]
        raise TypeError(f"spec: expected {spec!r} to be callable or a Classifier, got {got}")
    made = target if isinstance(target, (nn.Module, Classifier)) else target()
    if isinstance(made, nn.Module):
        return Classifier(made.eval(), Preprocess(), None, spec)
    if not isinstance(made, Classifier):
        raise TypeError(
            f"spec: expected {spec!r} to return an nn.Module or a Classifier, "
            f"got {type(made).__name__}"
        )
    made.model.eval()
    return made
