"""Options that several commands share, each typed and explained once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.console import stop
from wsolrefine.localization.methods import DEFAULT, METHODS


class Dataset(StrEnum):
    """The layouts of data sets; ``folder``, one sub-folder a class, is to train on."""

    cub = "cub"
    ilsvrc = "ilsvrc"
    openimages = "openimages"
    wsolevaluation = "wsolevaluation"
    folder = "folder"


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="efficientnet-lite0 (the default of refine), timm:NAME, torchvision:NAME or "
        "module:callable.",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        "-r",
        help="Instead of a model and a method: a file of wsolrefine train. If its backbone is "
        "code of your own, name that with --model.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(METHODS),
        help=f"How the heatmap is refined; cam leaves it as it is. Default {DEFAULT}.",
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        help="Layer whose features are used; repeat for several (sem uses the last one). By "
        "default the two stages before the last, 28x28 and 14x14 for a usual network.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.")
]
Root = Annotated[Path | None, typer.Option(help="Folder of the data set, with its images.")]
Metadata = Annotated[
    Path | None,
    typer.Option(
        help="wsolevaluation's folder of lists: of one split for wsolevaluation "
        "(metadata/CUB/test), of all splits for openimages (metadata/OpenImages)."
    ),
]

NEEDED: dict[Dataset, set[str]] = {
    Dataset.cub: {"root"},
    Dataset.ilsvrc: {"root"},
    Dataset.openimages: {"root", "metadata"},
    Dataset.wsolevaluation: {"metadata"},
    Dataset.folder: {"root"},
}
USED: dict[Dataset, set[str]] = {
    Dataset.cub: {"root", "split"},
    Dataset.ilsvrc: {"root", "split", "masks"},
    Dataset.openimages: {"root", "split", "metadata"},
    Dataset.wsolevaluation: {"root", "metadata"},
    Dataset.folder: {"root"},
}
"""What says where a data set is: the options that each layout needs, and those that it uses."""


def check_dataset(dataset: Dataset, given: set[str], needed: set[str]) -> None:
    """Stop where an option of the data set is missing or of no use.

    Args:
        dataset: its layout.
        given: names of the options that the user gave.
        needed: names of the options that there must be.

    """
    missing = sorted(needed - given)
    if missing:
        stop(f"--{missing[0]}: expected a folder for --dataset {dataset}, got none")
    useless = sorted({"root", "metadata", "masks", "split"} & given - USED[dataset])
    if useless:
        stop(f"--{useless[0]}: --dataset {dataset} does not use it")


def check_folders(folders: Mapping[str, Path | None], out: Path) -> None:
    """Stop unless the folders that are read exist, and that of the results can be one."""
    for name, folder in folders.items():
        if folder is not None and not folder.is_dir():
            stop(f"--{name}: expected a folder, got {folder}")
    check_out(out)


def check_out(out: Path) -> None:
    """Stop where the folder of the results is a file."""
    if out.exists() and not out.is_dir():
        stop(f"--out: expected a folder, {out} is a file")


def refuse(options: Mapping[str, object], reason: str) -> None:
    """Stop if one of the options is given: one that changes nothing would be believed to."""
    for name, value in options.items():
        if value not in (None, False, []):
            stop(f"--{name.replace('_', '-')}: {reason}")
