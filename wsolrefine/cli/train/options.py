"""The options of ``train``, and checks of their combinations."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from wsolrefine.cli.console import stop
from wsolrefine.cli.options import NEEDED, Dataset, check_dataset, check_folders
from wsolrefine.models import DEFAULT_CLASSIFIER


class RecipeName(StrEnum):
    """The recipes that ``train`` offers."""

    spa = "spa"
    ornet = "ornet"
    csoa = "csoa"
    sem_edges = "sem_edges"
    spol = "spol"


class Precision(StrEnum):
    """Numerical precision of the training."""

    full = "32-true"
    half = "16-mixed"
    bfloat = "bf16-mixed"


DEFAULTS: dict[str, Any] = {
    "split": None,
    "metadata": None,
    "backbone": DEFAULT_CLASSIFIER,
    "epochs": None,
    "batch_size": 32,
    "lr": None,
    "size": 256,
    "crop": 224,
    "precision": Precision.full.value,
    "devices": 1,
    "seed": 0,
    "set": [],
}
"""The settings that neither the user nor a resumed run gives."""

SPLITS = {Dataset.cub: "train", Dataset.ilsvrc: "train", Dataset.openimages: "train"}


class Options(NamedTuple):
    """The options of one run; None if not given."""

    recipe: RecipeName
    out: Path
    dataset: Dataset | None
    root: Path | None
    metadata: Path | None
    split: str | None
    backbone: str | None
    epochs: int | None
    batch_size: int | None
    lr: float | None
    size: int | None
    crop: int | None
    precision: Precision | None
    devices: int | None
    seed: int | None
    set: list[str] | None
    device: str
    workers: int
    keep_all: bool
    resume: bool


def settings_of(options: Options) -> dict[str, Any]:
    """Return the given options that determine the result, as values that JSON can store."""
    given = options._asdict()
    for name in ("out", "device", "workers", "keep_all", "resume"):
        del given[name]
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Path):
            settings[name] = str(value.absolute())
        elif isinstance(value, StrEnum):
            settings[name] = value.value
        elif value is not None:
            settings[name] = value
    return settings


def check(settings: dict[str, Any], out: Path) -> None:
    """Stop if settings are missing, have no effect, or are out of range."""
    if "dataset" not in settings:
        kinds = ", ".join(kind.value for kind in Dataset)
        stop(f"--dataset: expected one of {kinds}, got none")
    kind = Dataset(settings["dataset"])
    given = {name for name, value in settings.items() if value not in (None, False)}
    needed = NEEDED[kind] | ({"root"} if kind is Dataset.wsolevaluation else set())
    check_dataset(kind, given, needed)
    folders = {name: settings.get(name) for name in ("root", "metadata")}
    check_folders({name: Path(path) if path else None for name, path in folders.items()}, out)
    if settings["crop"] > settings["size"]:
        stop(f"--crop: expected at most --size {settings['size']}, got {settings['crop']}")
    if settings["lr"] is not None and not 0 < settings["lr"] < float("inf"):
        stop(f"--lr: expected a number above 0, got {settings['lr']:g}")


def command_to_resume(options: Options) -> str:
    """Return the command that resumes a run; all other options are stored in its folder."""
    words = ["wsolrefine", "train", options.recipe.value, "--out", str(options.out), "--resume"]
    if options.device != "auto":
        words += ["--device", options.device]
    if options.workers:
        words += ["--workers", str(options.workers)]
    if options.keep_all:
        words.append("--keep-all")
    return shlex.join(words)
