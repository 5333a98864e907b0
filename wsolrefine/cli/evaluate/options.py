"""What ``evaluate`` was asked for, and whether it goes together."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from wsolrefine.cli.console import stop
from wsolrefine.cli.maps import Method

MIN_STEP = 1e-5


class Dataset(StrEnum):
    """The data sets that the commands read; ``folder``, one sub-folder a class, is to train on."""

    cub = "cub"
    ilsvrc = "ilsvrc"
    openimages = "openimages"
    wsolevaluation = "wsolevaluation"
    folder = "folder"


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
    method: Method | None
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


NEEDED = {
    Dataset.cub: {"root"},
    Dataset.ilsvrc: {"root"},
    Dataset.openimages: {"root", "metadata"},
    Dataset.wsolevaluation: {"metadata"},
}
USED = {
    Dataset.cub: {"root", "split"},
    Dataset.ilsvrc: {"root", "split", "masks"},
    Dataset.openimages: {"root", "split", "metadata"},
    Dataset.wsolevaluation: {"root", "metadata"},
}
FOLDERS = ("root", "metadata", "masks", "maps", "threshold_maps")
OF_MODEL = ("method", "layer", "labels", "size", "hit")
OF_CLASSIFIER = ("method", "layer")
OF_MAPS = ("threshold_maps", "normalize")


def check(options: Options) -> None:
    """Stop with the reason where options are missing, of no use, or contradict each other.

    An option that would silently change nothing is refused: the user believes that it did.
    """
    given = {name for name, value in options._asdict().items() if value not in (None, False)}
    kind = options.dataset
    if kind is Dataset.folder:
        stop(f"--dataset: expected one with boxes or masks, got {kind}, which is to train on")
    missing = sorted(NEEDED[kind] - given)
    if missing:
        stop(f"--{missing[0]}: expected a folder for --dataset {kind}, got none")
    useless = sorted({"root", "metadata", "masks", "split"} & given - USED[kind])
    if useless:
        stop(f"--{useless[0]}: --dataset {kind} does not use it")
    if ("maps" in given) == bool({"model", "recipe"} & given):
        stop("expected one of --maps (a folder of score maps), --model and --recipe")
    source, others = ("--maps", set(OF_MODEL)) if "maps" in given else ("--model", set(OF_MAPS))
    if "recipe" in given:
        source, others = "--recipe", {*OF_MAPS, *OF_CLASSIFIER}
    for name in sorted(others):
        if name in given:
            stop(f"--{name.replace('_', '-')}: {source} does not use it")
    if "threshold_maps" in given and "threshold_from" not in given:
        stop("--threshold-maps: expected --threshold-from with it")
    if source != "--maps" and "root" not in given:
        stop(f"--root: expected the folder of the images for --dataset {kind} with {source}")
    for name in FOLDERS:
        folder = getattr(options, name)
        if folder is not None and not folder.is_dir():
            stop(f"--{name.replace('_', '-')}: expected a folder, got {folder}")
    if options.out.exists() and not options.out.is_dir():
        stop(f"--out: expected a folder, {options.out} is a file")
    if not MIN_STEP <= options.step < 1:
        stop(f"--step: expected a number from {MIN_STEP} to below 1, got {options.step}")
