"""The options of ``evaluate``, and checks of their combinations."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from wsolrefine.cli.changes import Changes
from wsolrefine.cli.console import stop
from wsolrefine.cli.options import NEEDED, Dataset, check_dataset, check_folders, refuse
from wsolrefine.localization.methods import CAM_ALONE, METHODS

MIN_STEP = 1e-5
SIZE = 224
MAX_SIZE = 4096
"""Larger maps would fill the memory: one of this side takes 128 MB."""


class Labels(StrEnum):
    """The class of the map: the true one, or the one that the classifier predicts."""

    true = "true"
    predicted = "predicted"


class Hit(StrEnum):
    """Whether an IoU of exactly 0.5 is a hit in Top-1, Top-5 and GT-known.

    In words, because a shell interprets ``>``.
    """

    at_least = "at-least"
    above = "above"


UNUSED = {
    "--maps": {"method", "layer", "labels", "size", "hit"},
    "--model": {"threshold_maps", "normalize"},
    "--recipe": {"threshold_maps", "normalize", "method", "layer"},
}
"""Options that have no effect with a source of maps."""


def check(given: Mapping[str, Any], changes: Changes) -> None:
    """Stop if options are missing, have no effect, or contradict each other.

    Args:
        given: all options by the name of their parameter; None or False if not given.
        changes: of the classifier.

    """
    names = {name for name, value in given.items() if value not in (None, False)}
    dataset = given["dataset"]
    if dataset in (Dataset.folder, Dataset.images):
        has = "only labels" if dataset is Dataset.folder else "only images"
        stop(f"--dataset: expected one with boxes or masks, got {dataset}, which has {has}")
    check_dataset(dataset, names, NEEDED[dataset])
    if ("maps" in names) == bool({"model", "recipe"} & names):
        stop("expected one of --maps (a folder of score maps), --model and --recipe")
    source = next(f"--{name}" for name in ("maps", "recipe", "model") if name in names)
    refuse({name: given[name] for name in sorted(UNUSED[source])}, f"{source} does not use it")
    if source != "--model":
        changes.refuse(f"{source} does not use it")
    if source == "--maps" and given["device"] != "auto":
        stop("--device: --maps does not use it")
    if "threshold_maps" in names and "threshold_from" not in names:
        stop("--threshold-maps: expected --threshold-from too, got none")
    if source != "--maps" and "root" not in names:
        stop(
            f"--root: expected the folder of the images for --dataset {dataset} with {source}, "
            "got none"
        )
    folders = ("root", "metadata", "masks", "maps", "threshold_maps")
    check_folders({name.replace("_", "-"): given[name] for name in folders}, given["out"])
    if given["method"] not in (None, *METHODS):
        stop(f"--method: expected one of {', '.join(METHODS)}, got {given['method']!r}")
    if given["method"] in CAM_ALONE:
        refuse({"layer": given["layer"]}, f"--method {given['method']} does not use it")
    if not MIN_STEP <= given["step"] < 1:
        stop(f"--step: expected a number from {MIN_STEP} to below 1, got {given['step']}")


def check_edges(given: Mapping[str, Any], recipe: str, split: str, has_masks: bool) -> None:
    """Stop if options or the data set do not fit an edge recipe."""
    names = ("labels", "size", "hit", "threshold_from")
    refuse({name: given[name] for name in names}, f"{recipe} does not use it")
    if not has_masks:
        stop(f"--recipe: expected a split with masks for {recipe}, got {split} without masks", 1)
