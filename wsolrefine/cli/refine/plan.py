"""From the settings of ``refine`` to what is done to every image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsolrefine.activation.layers import Layers
from wsolrefine.cli.console import stop
from wsolrefine.cli.maps import Method, Parts
from wsolrefine.cli.prepare import prepare
from wsolrefine.cli.recipe import Found, Ready, prepare_recipe
from wsolrefine.cli.refine.batch import Plan
from wsolrefine.cli.refine.classes import parse_classes
from wsolrefine.models import Classifier


def make_plan(
    out: Path, settings: dict[str, Any], device: str, recipe: Found | None, model: str | None
) -> Plan:
    """Load what the settings name, or stop with the reason, before any file is touched.

    Args:
        out: folder of the results.
        settings: of the run.
        device: the ``--device`` option.
        recipe: a file in place of a classifier and a method; None: there is none.
        model: the ``--model`` option, which allows a recipe's backbone.

    """
    source: tuple[Layers, Method] | Ready
    if recipe is not None:
        source = prepare_recipe(recipe, model, device)
        trained, place = source
        outputs, name = trained.about.num_classes, trained.about.recipe
        classifier = Classifier(trained.recipe, trained.preprocess, trained.class_names, name)
    else:
        layers = None if settings["layers"] == "auto" else settings["layers"]
        classifier, place, found, outputs = prepare(settings["model"], layers, device)
        source = found, Method(settings["method"])
    try:
        classes = parse_classes(settings["classes"], classifier.class_names, outputs)
    except ValueError as error:
        stop(error)
    threshold, parts = settings["threshold"], Parts(settings["parts"])
    return Plan(classifier, place, source, classes, threshold, parts, out)
