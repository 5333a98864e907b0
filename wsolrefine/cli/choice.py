"""Which localizer the options name, and what is known of it before it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsolrefine import Localizer
from wsolrefine.cli.changes import Changes
from wsolrefine.cli.console import stop
from wsolrefine.cli.loading import RecipeHeader, load_localizer, read_recipe
from wsolrefine.cli.options import refuse
from wsolrefine.localization.masks import check_threshold
from wsolrefine.localization.methods import CAM_ALONE, DEFAULT, METHODS
from wsolrefine.models import DEFAULT_CLASSIFIER


class Choice(NamedTuple):
    """A recipe, or a classifier with a method.

    Attributes:
        settings: what determines its maps and masks, to be compared with those of an earlier run.
        regions: whether its maps show objects; False for edges, which have no masks or boxes.
        options: model, header of the recipe, method and layers, as :func:`load_localizer` has them.
        changes: of the classifier.

    """

    settings: dict[str, Any]
    regions: bool
    options: tuple[str | None, RecipeHeader | None, str | None, Sequence[str] | None]
    changes: Changes

    def load(self, device: str) -> Localizer:
        """Load it, or stop.

        Args:
            device: its name, or ``auto``.

        """
        localizer = load_localizer(*self.options, device, self.changes)
        localizer.threshold = self.settings["threshold"]
        return localizer


def choose_localizer(
    model: str | None,
    recipe: Path | None,
    method: str | None,
    layers: Sequence[str] | None,
    threshold: float | None,
    changes: Changes,
    **masks: object,
) -> Choice:
    """Return what the options of these names choose, or stop if they do not go together.

    Args:
        model: name of the classifier.
        recipe: a file from ``train``.
        method: name of the refinement.
        layers: names of the layers whose features are used.
        threshold: that of the masks.
        changes: of the classifier.
        masks: other options about masks, which edges do not have; None or False: not given.

    """
    header, regions = None, True
    if recipe is not None:
        header = read_recipe(recipe, model)
        from wsolrefine.recipes.checkpoint import recipe_class

        refuse({"method": method, "layer": layers}, "--recipe does not use it")
        changes.refuse("--recipe does not use it")
        metadata = header.metadata
        regions = recipe_class(metadata.recipe).regions
        if not regions:
            reason = f"{metadata.recipe} does not use it, its maps are edges"
            refuse({"threshold": threshold, **masks}, reason)
        settings: dict[str, Any] = {"recipe": metadata.recipe, "sha256": header.sha256}
        default = metadata.threshold
    else:
        name = DEFAULT if method is None else method
        if name not in METHODS:
            stop(f"--method: expected one of {', '.join(METHODS)}, got {name!r}")
        if name in CAM_ALONE:
            refuse({"layer": layers}, f"--method {name} does not use it")
        settings = {
            "model": DEFAULT_CLASSIFIER if model is None else model,
            "method": name,
            "layers": layers or "auto",
            **changes.settings(),
        }
        default = METHODS[name].threshold
    try:
        settings["threshold"] = check_threshold(default if threshold is None else threshold)
    except ValueError as error:
        stop(f"--{error}")
    return Choice(settings, regions, (model, header, method, layers), changes)
