"""The settings that determine the result of a run: their ranges, from options and from files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wsolrefine._options import (
    check_choice,
    check_count,
    check_kind,
    check_number,
    check_path,
    check_text,
)
from wsolrefine.cli.console import stop
from wsolrefine.cli.options import NEEDED, Dataset, check_dataset, check_folders, refuse
from wsolrefine.cli.train.options import Precision, RecipeName
from wsolrefine.models import DEFAULT_CLASSIFIER

MOST_PIXELS = 4096
MOST_CLASSES = 1_000_000
MOST_EPOCHS = 1_000_000
MOST_IMAGES = 65_536
MOST_DEVICES = 1_024
MOST_WORKERS = 1_024
LARGEST_SEED = 2**64 - 1
LARGEST_RATE = 1e30
"""Limits of the options, also for values from a file."""

DEFAULTS: dict[str, Any] = {
    "split": None,
    "metadata": None,
    "backbone": DEFAULT_CLASSIFIER,
    "epochs": None,
    "batch_size": 32,
    "lr": None,
    "size": 256,
    "crop": 224,
    "classes": None,
    "precision": Precision.full.value,
    "devices": 1,
    "seed": 0,
    "set": [],
}
"""The settings that neither the user nor a resumed run gives."""

FILES = ("checkpoint", "class_names")
"""Settings that only runs have whose backbone a file changes: the hash of its content."""

SPLITS = {Dataset.cub: "train", Dataset.ilsvrc: "train", Dataset.openimages: "train"}

Check = Callable[[str, Any], Any]


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _texts(name: str, value: Any) -> None:
    for text in check_kind(name, value, list, "a list"):
        check_text(name, text)


_folder = _or_none(check_path)
_count = partial(check_count, low=1)
KINDS: dict[str, Check] = {
    "recipe": partial(check_choice, choices=[name.value for name in RecipeName]),
    "dataset": partial(check_choice, choices=[name.value for name in Dataset]),
    "root": _folder,
    "metadata": _folder,
    "split": _or_none(check_text),
    "backbone": check_text,
    "epochs": _or_none(partial(_count, high=MOST_EPOCHS)),
    "batch_size": partial(check_count, low=2, high=MOST_IMAGES),
    "lr": _or_none(partial(check_number, above=0, high=LARGEST_RATE)),
    "size": partial(_count, high=MOST_PIXELS),
    "crop": partial(_count, high=MOST_PIXELS),
    "classes": _or_none(partial(check_count, low=2, high=MOST_CLASSES)),
    "set": _texts,
    "seed": partial(check_count, low=0, high=LARGEST_SEED),
    "precision": partial(check_choice, choices=[name.value for name in Precision]),
    "devices": partial(_count, high=MOST_DEVICES),
}
"""The check of each setting: it raises if the value is of the wrong kind or out of range."""


def check_content(content: Any) -> None:
    """Raise unless the content of a run's file has the settings and data of a run.

    Raises:
        TypeError: a value is of the wrong kind.
        ValueError: a value is out of range, is missing, or is unknown.

    """
    _check_keys("content", content, ("settings", "data", "model", "version", "sha256"))
    _check_keys("settings", content["settings"], KINDS, FILES)
    _check_keys("data", content["data"], ("images", "classes", "sha256"))
    for name, value in content["settings"].items():
        (_hash if name in FILES else KINDS[name])(name, value)
    data = content["data"]
    check_count("images", data["images"])
    check_count("classes", data["classes"], low=0)  # images without classes have none
    check_text("version", content["version"])
    for name, owner in (("sha256", content), ("sha256", data), ("model", content)):
        _hash(name, owner[name])


def _hash(name: str, value: Any) -> None:
    if not re.fullmatch("[0-9a-f]{64}", check_text(name, value)):
        raise ValueError(f"{name}: expected 64 hexadecimal digits, got {value!r}")


def _check_keys(name: str, value: Any, expected: Any, optional: Sequence[str] = ()) -> None:
    keys = check_kind(name, value, dict, "an object").keys()
    if missing := [key for key in expected if key not in keys]:
        raise ValueError(f"{name}: expected {missing[0]}, got none")
    if unknown := [key for key in keys if key not in expected and key not in optional]:
        raise ValueError(f"{name}: expected no {unknown[0]!r}")


def check(settings: dict[str, Any], out: Path) -> None:
    """Stop if settings are missing, have no effect, or are out of range."""
    if "dataset" not in settings:
        kinds = ", ".join(kind.value for kind in Dataset)
        stop(f"--dataset: expected one of {kinds}, got none")
    for name, value in settings.items():
        if name in FILES:
            continue
        try:
            KINDS[name](name, value)
        except (TypeError, ValueError) as error:
            stop(f"--{str(error).replace('_', '-', 1) if name == 'batch_size' else error}")
    kind = Dataset(settings["dataset"])
    if settings["recipe"] == RecipeName.distill:
        refuse({"classes": settings["classes"]}, "distill has the classes of its backbone")
    elif kind is Dataset.images:
        stop(f"--dataset: expected one with labels for {settings['recipe']}, got {kind}")
    if settings["recipe"] != RecipeName.distill and not settings["backbone"].startswith("clip:"):
        names = {"class-names": settings.get("class_names")}
        refuse(names, f"{settings['recipe']} has the classes of the data set")
    given = {name for name, value in settings.items() if value not in (None, False)}
    needed = NEEDED[kind] | ({"root"} if kind is Dataset.wsolevaluation else set())
    check_dataset(kind, given, needed)
    folders = {name: settings.get(name) for name in ("root", "metadata")}
    check_folders({name: Path(path) if path else None for name, path in folders.items()}, out)
    if settings["crop"] > settings["size"]:
        stop(f"--crop: expected at most --size {settings['size']}, got {settings['crop']}")
