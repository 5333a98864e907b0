"""The options of ``evaluate``, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from wsolrefine.cli.console import stop
from wsolrefine.cli.options import NEEDED, Dataset, check_dataset, check_folders, refuse
from wsolrefine.localization.methods import METHODS

MIN_STEP = 1e-5
SIZE = 224


class Labels(StrEnum):
    """Of which class the map is: the true one, or the one the classifier takes for the best."""

    true = "true"
    predicted = "predicted"


class Hit(StrEnum):
    """Whether an IoU of exactly 0.5 counts in Top-1, Top-5 and GT-known.

    In words, because a shell takes ``>`` for itself.
    """

    at_least = "at-least"
    above = "above"


UNUSED = {
    "--maps": {"method", "layer", "labels", "size", "hit"},
    "--model": {"threshold_maps", "normalize"},
    "--recipe": {"threshold_maps", "normalize", "method", "layer"},
}
"""Options that make no sense with a source of maps."""


def check(given: Mapping[str, Any]) -> None:
    """Stop with the reason where options are missing, of no use, or contradict each other.

    An option that would silently change nothing is refused: the user believes that it did.

    Args:
        given: all options by the name of their parameter, None or False where there are none.

    """
    names = {name for name, value in given.items() if value not in (None, False)}
    dataset = given["dataset"]
    if dataset is Dataset.folder:
        stop(f"--dataset: expected one with boxes or masks, got {dataset}, which is to train on")
    check_dataset(dataset, names, NEEDED[dataset])
    if ("maps" in names) == bool({"model", "recipe"} & names):
        stop("expected one of --maps (a folder of score maps), --model and --recipe")
    source = next(f"--{name}" for name in ("maps", "recipe", "model") if name in names)
    refuse({name: given[name] for name in sorted(UNUSED[source])}, f"{source} does not use it")
    if "threshold_maps" in names and "threshold_from" not in names:
        stop("--threshold-maps: expected --threshold-from with it")
    if source != "--maps" and "root" not in names:
        stop(f"--root: expected the folder of the images for --dataset {dataset} with {source}")
    folders = ("root", "metadata", "masks", "maps", "threshold_maps")
    check_folders({name.replace("_", "-"): given[name] for name in folders}, given["out"])
    if given["method"] not in (None, *METHODS):
        stop(f"--method: expected one of {', '.join(METHODS)}, got {given['method']!r}")
    if not MIN_STEP <= given["step"] < 1:
        stop(f"--step: expected a number from {MIN_STEP} to below 1, got {given['step']}")


def check_edges(given: Mapping[str, Any], recipe: str, split: str, has_masks: bool) -> None:
    """Stop where options or data have no use or no meaning for a recipe of edges."""
    names = ("labels", "size", "hit", "threshold_from")
    refuse({name: given[name] for name in names}, f"{recipe} does not use it")
    if not has_masks:
        stop(f"--recipe: {recipe} is measured on masks, of which {split} has none", 1)
