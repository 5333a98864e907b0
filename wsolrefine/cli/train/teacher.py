"""The teacher of ``train distill``: a method on the classifier that is its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wsolrefine import Localizer
from wsolrefine.activation.modes import evaluation
from wsolrefine.activation.state import unchanged
from wsolrefine.cli.changes import Changes
from wsolrefine.cli.console import stop
from wsolrefine.cli.evaluate.classes import differing
from wsolrefine.cli.loading import load_model
from wsolrefine.cli.train.dataset import number_of_classes
from wsolrefine.data.reader import Reader
from wsolrefine.localization.methods import DEFAULT
from wsolrefine.nn import FeatureList


def number_of_scores(backbone: FeatureList, trial: Tensor) -> int:
    """Return how many class scores the classifier of a backbone has."""
    with torch.no_grad(), evaluation(backbone.model), unchanged(backbone.model):
        return backbone.with_logits(trial)[1].shape[1]


def with_teacher(
    keywords: dict[str, Any],
    settings: dict[str, Any],
    reader: Reader,
    classes: int,
    names: Sequence[str] | None,
    changes: Changes,
) -> dict[str, Any]:
    """Return the keywords of the recipe with a teacher, or stop.

    Args:
        keywords: what the user set.
        settings: all settings of the run.
        reader: the images.
        classes: number of class scores of the backbone.
        names: its class names, if it has any.
        changes: of the backbone, and of the teacher.

    """
    if keywords.get("use_labels"):
        found = number_of_classes(reader, None)
        if found != classes:
            stop(f"--set use_labels: expected the {classes} classes of --backbone, got {found}")
        if reason := differing(names, reader.class_names):
            stop(f"--set use_labels: expected the classes of --backbone, got others ({reason})")
    method = keywords.get("teacher", DEFAULT)
    if method is None:
        stop("--set teacher: expected the name of a method, got none")
    if keywords.get("backbone_learning_rate"):
        try:
            classifier = load_model(settings["backbone"], option="--backbone", changes=changes)
            return {**keywords, "teacher": Localizer(classifier, refine=method)}
        except ValueError as error:
            stop(f"--set {str(error).replace('refine:', 'teacher:', 1)}")
    return {**keywords, "teacher": method}
