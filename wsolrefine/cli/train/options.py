"""The options of ``train``."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from wsolrefine.cli.changes import OPTIONS, Changes
from wsolrefine.cli.options import Dataset
from wsolrefine.models import DEFAULT_CLASSIFIER


class RecipeName(StrEnum):
    """The recipes that ``train`` offers."""

    spa = "spa"
    ornet = "ornet"
    csoa = "csoa"
    sem_edges = "sem_edges"
    spol = "spol"
    distill = "distill"


class Precision(StrEnum):
    """Numerical precision of the training."""

    full = "32-true"
    half = "16-mixed"
    bfloat = "bf16-mixed"


class Options(NamedTuple):
    """The options of one run; None if not given."""

    recipe: RecipeName
    out: Path
    dataset: Dataset | None
    root: Path | None
    metadata: Path | None
    split: str | None
    backbone: str | None
    checkpoint: Path | None
    class_names: Path | None
    epochs: int | None
    batch_size: int | None
    lr: float | None
    size: int | None
    crop: int | None
    classes: int | None
    precision: Precision | None
    devices: int | None
    seed: int | None
    set: list[str] | None
    device: str
    workers: int
    keep_all: bool
    resume: bool

    @property
    def changes(self) -> Changes:
        """The options that change the backbone."""
        return Changes(self.checkpoint, self.class_names)


def settings_of(options: Options) -> dict[str, Any]:
    """Return the given options that determine the result, as values that JSON can store.

    Of the files that change the backbone they are hashes of the content. It stops where such a file
    cannot be read.
    """
    given = options._asdict()
    settings: dict[str, Any] = options.changes.settings()
    for name in ("out", "device", "workers", "keep_all", "resume", "checkpoint", "class_names"):
        del given[name]
    for name, value in given.items():
        if isinstance(value, Path):
            settings[name] = str(value.absolute())
        elif isinstance(value, StrEnum):
            settings[name] = value.value
        elif value is not None:
            settings[name] = value
    return settings


def command_to_resume(options: Options) -> str:
    """Return the command that resumes a run; all other options are stored in its folder.

    The backbone is stored too, but it is the user who chooses which code runs and which files are
    read.
    """
    words = ["wsolrefine", "train", options.recipe.value, "--out", str(options.out), "--resume"]
    if options.backbone not in (None, DEFAULT_CLASSIFIER):
        words += ["--backbone", str(options.backbone)]
    for name, value in options.changes.arguments().items():
        words += [OPTIONS[name], str(value)]
    if options.device != "auto":
        words += ["--device", options.device]
    if options.workers:
        words += ["--workers", str(options.workers)]
    if options.keep_all:
        words.append("--keep-all")
    return shlex.join(words)
