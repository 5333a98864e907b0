"""The options of the command, and the images that they name."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS
from benchmarks.quality.data_sets import HELP, check_disjoint, open_data, shown
from benchmarks.recipes.groups import parsed_groups
from benchmarks.recipes.parts import PARTS, WITHOUT_MASKS
from benchmarks.recipes.photographs import GroupedPhotographs
from benchmarks.recipes.scenes import ComposedScenes
from benchmarks.recipes.splits import Source

SIZES: dict[str, tuple[int, str]] = {
    "train": (4096, "number of training images, each of which is seen once"),
    "scenes": (400, "number of validation scenes, and of test scenes"),
    "epochs": (16, "slices of the training images, on frozen features"),
    "batch": (16, "batch size"),
}
"""Default and help of the options on which all parts of a record agree."""
OWN_SIZES: dict[str, dict[str, tuple[int, str]]] = {
    "ornet": {
        "ornet_train": (2048, "training images of ORNet's stage one"),
        "ornet_refine": (1024, "others of its stage two"),
    },
    "distill": {
        "distill_train": (4096, "training images of distillation"),
        "distill_times": (1, "times that it sees each of them"),
    },
    "edges": {
        "edge_train": (800, "training scenes of the edge head"),
        "edge_epochs": (4, "slices of them"),
        "edge_tests": (80, "scenes to measure edges on"),
    },
}
"""The same of the options that belong to one part."""


class Options(argparse.Namespace):
    """The options, with the images opened."""

    parts: list[str]
    source: Source
    name: str  # of the files with results
    seeds: int
    anew: bool
    out: Path
    pictures: Path | None


def parsed() -> Options:
    """Return the options of the command, or stop with a message."""
    parser = argparse.ArgumentParser(description="Train every recipe and its baselines.")
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    sizes = dict(item for some in (SIZES, *OWN_SIZES.values()) for item in some.items())
    for name, (default, text) in sizes.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=default, help=f"{text} ({default})")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row (3)")
    for split, text in (("train", "train on crops of them"), ("test", "measure on them")):
        parser.add_argument(
            f"--photographs-{split}",
            nargs="+",
            action="extend",
            default=[],
            metavar="SPEC",
            help=f"photographs instead of scenes, {text}: {HELP}",
        )
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=GROUP",
        help="the group of a data set whose labels are not classes of ImageNet",
    )
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--cache", type=Path, help="folder that keeps images and features")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and Markdown")
    parser.add_argument("--pictures", type=Path, help="folder for maps of what is trained")
    parser.add_argument("--anew", action="store_true", help="measure again what the record holds")
    options = parser.parse_args(namespace=Options())
    photographs = bool(options.photographs_train or options.photographs_test)
    allowed = WITHOUT_MASKS if photographs else [*PARTS]
    options.parts = options.parts or allowed
    options.name = "recipes_photographs" if photographs else "recipes"
    if photographs and options.pictures:
        parser.error("--pictures: expected scenes, got photographs, whose licenses vary")
    if missing := {*options.parts} - {*allowed}:
        parser.error(f"--parts: expected parts without masks, got {', '.join(sorted(missing))}")
    try:
        options.source = _photographs(options) if photographs else _scenes(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options


def _scenes(options: Options) -> Source:
    counts = {"train": options.train, "validation": options.scenes, "test": options.scenes}
    return ComposedScenes(counts, options.folder)


def _photographs(options: Options) -> Source:
    train, test = open_data(options.photographs_train), open_data(options.photographs_test)
    if not train or not test:
        raise ValueError("--photographs-train: expected --photographs-test with it, got one alone")
    check_disjoint(train, test, option="--photographs-train")
    return GroupedPhotographs(train, test, options.train, parsed_groups(options.group))


def compared(options: Options) -> dict[str, Any]:
    """Return the options on which all parts of a record agree."""
    left_out = () if options.name == "recipes" else ("scenes",)
    return {name: getattr(options, name) for name in SIZES if name not in left_out}


def own(options: Options) -> dict[str, dict[str, Any]]:
    """Return the options that belong to one part, by part."""
    return {
        part: {name: getattr(options, name) for name in sizes} for part, sizes in OWN_SIZES.items()
    }


def command_of(options: Options) -> str:
    """Return the command for the record, without absolute paths."""
    command = "python -m benchmarks.recipes"
    for split in ("train", "test"):
        if specs := getattr(options, f"photographs_{split}"):
            command += f" --photographs-{split} {shown(specs)}"
    return command + "".join(f" --group {shlex.quote(text)}" for text in options.group)
