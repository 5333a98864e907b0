"""The options of ``evaluate``, and whether they go together."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.console import stop
from wsolrefine.cli.options import NEEDED, Dataset, check_dataset, check_folders, refuse
from wsolrefine.localization.methods import METHODS

MIN_STEP = 1e-5


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


class Options(NamedTuple):
    """The options of one run, None where the user gave none."""

    dataset: Dataset
    root: Path | None
    metadata: Path | None
    masks: Path | None
    split: str | None
    maps: Path | None
    threshold_maps: Path | None
    normalize: bool
    model: str | None
    recipe: Path | None
    method: str | None
    layer: list[str] | None
    labels: Labels | None
    size: int | None
    hit: Hit | None
    step: float
    threshold_from: str | None
    limit: int | None
    batch_size: int
    device: str
    out: Path


UNUSED = {
    "--maps": {"method", "layer", "labels", "size", "hit"},
    "--model": {"threshold_maps", "normalize"},
    "--recipe": {"threshold_maps", "normalize", "method", "layer"},
}
"""Options that make no sense with a source of maps."""


def check(options: Options) -> None:
    """Stop with the reason where options are missing, of no use, or contradict each other.

    An option that would silently change nothing is refused: the user believes that it did.
    """
    values = options._asdict()
    given = {name for name, value in values.items() if value not in (None, False)}
    dataset = options.dataset
    if dataset is Dataset.folder:
        stop(f"--dataset: expected one with boxes or masks, got {dataset}, which is to train on")
    check_dataset(dataset, given, NEEDED[dataset])
    if ("maps" in given) == bool({"model", "recipe"} & given):
        stop("expected one of --maps (a folder of score maps), --model and --recipe")
    source = next(f"--{name}" for name in ("maps", "recipe", "model") if name in given)
    refuse({name: values[name] for name in sorted(UNUSED[source])}, f"{source} does not use it")
    if "threshold_maps" in given and "threshold_from" not in given:
        stop("--threshold-maps: expected --threshold-from with it")
    if source != "--maps" and "root" not in given:
        stop(f"--root: expected the folder of the images for --dataset {dataset} with {source}")
    folders = ("root", "metadata", "masks", "maps", "threshold_maps")
    check_folders({name.replace("_", "-"): values[name] for name in folders}, options.out)
    if options.method not in (None, *METHODS):
        stop(f"--method: expected one of {', '.join(METHODS)}, got {options.method!r}")
    if not MIN_STEP <= options.step < 1:
        stop(f"--step: expected a number from {MIN_STEP} to below 1, got {options.step}")
