"""Options that several commands share, each defined once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import MISSING, kind_of, may
from wsolrefine.localization.methods import DEFAULT, METHODS


def parse_path(text: str | Path) -> Path:
    """Return the path of an option; an empty one would be the working folder.

    Raises:
        BadParameter: it is empty, as an unset variable of the shell is, or no path at all.

    """
    shown = str(text)
    if not shown.strip() or "\0" in shown:
        raise typer.BadParameter(f"expected a path, got {shown!r}")
    return Path(text)


class Dataset(StrEnum):
    """The layouts of data sets.

    ``folder``, one subfolder per class, and ``images``, without classes, are for training only.
    """

    cub = "cub"
    ilsvrc = "ilsvrc"
    openimages = "openimages"
    wsolevaluation = "wsolevaluation"
    folder = "folder"
    images = "images"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="Files, folders (searched recursively) and quoted globs.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Classifier: efficientnet-lite0 (default of refine), timm:NAME, torchvision:NAME, "
        "hf:NAME or clip:NAME (Hub or folder), or package.module:callable.",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        "-r",
        parser=parse_path,
        metavar="FILE",
        help="Instead of model and method: a file from wsolrefine train. If its backbone is your "
        "own code, name it with --model too.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=lambda: [*METHODS],
        help=f"Refinement: {', '.join(name for name in METHODS if name != 'cam')}, or cam for the "
        f"heatmap without refinement. Default {DEFAULT}.",
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        help="Layer whose features are used; repeat for several (sem uses the last one). Default: "
        "the two stages before the last, 28x28 and 14x14 in most networks.",
        show_default=False,
    ),
]
PARTS = ("largest", "all")
"""What one mask and one box of a class can be."""

Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, mps; auto uses a GPU if there is one.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        parser=parse_path, metavar="FOLDER", help="Folder of the data set, with its images."
    ),
]
Metadata = Annotated[
    Path | None,
    typer.Option(
        parser=parse_path,
        metavar="FOLDER",
        help="Lists of wsolevaluation: the folder of the split for wsolevaluation "
        "(metadata/CUB/test), of all splits for openimages (metadata/OpenImages).",
    ),
]

NEEDED: dict[Dataset, set[str]] = {
    Dataset.cub: {"root"},
    Dataset.ilsvrc: {"root"},
    Dataset.openimages: {"root", "metadata"},
    Dataset.wsolevaluation: {"metadata"},
    Dataset.folder: {"root"},
    Dataset.images: {"root"},
}
USED: dict[Dataset, set[str]] = {
    Dataset.cub: {"root", "split"},
    Dataset.ilsvrc: {"root", "split", "masks"},
    Dataset.openimages: {"root", "split", "metadata"},
    Dataset.wsolevaluation: {"root", "metadata"},
    Dataset.folder: {"root"},
    Dataset.images: {"root"},
}
"""Options that say where a data set is: those that each layout needs, and those that it uses."""


def threshold_option(default: str) -> Any:
    """Return the option ``--threshold`` of a command whose help says what the default is."""
    return typer.Option(
        "--threshold",
        "-t",
        help=f"Map value in [0, 1) above which a pixel is object. Default: {default}.",
        show_default=False,
    )


def check_dataset(dataset: Dataset, given: set[str], needed: set[str]) -> None:
    """Stop if an option of the data set is missing or would have no effect.

    Args:
        dataset: its layout.
        given: names of the options that the user gave.
        needed: names of the required options.

    """
    missing = sorted(needed - given)
    if missing:
        stop(f"--{missing[0]}: expected a folder for --dataset {dataset}, got none")
    useless = sorted({"root", "metadata", "masks", "split"} & given - USED[dataset])
    if useless:
        stop(f"--{useless[0]}: --dataset {dataset} does not use it")


def check_folders(folders: Mapping[str, Path | None], out: Path) -> None:
    """Stop unless the input folders can be entered, and results can be written."""
    for name, folder in folders.items():
        if folder is not None and (kind := kind_of(folder)) != "folder":
            stop(f"--{name}: expected a folder, got {folder} ({_described(kind)})")
        if folder is not None and not may(folder, os.X_OK):
            stop(f"--{name}: expected a folder, got {folder} (permission denied)")
    check_out(out)


def check_out(out: Path) -> None:
    """Stop if the path of the results is a file, cannot be looked at, or is closed to writing."""
    kind = kind_of(out)
    if kind == "file":
        stop(f"--out: expected a folder, got the file {out}")
    if kind not in ("folder", MISSING):
        stop(f"--out: expected a folder, got {out} ({kind})")
    path = out.absolute()
    existing = next((folder for folder in (path, *path.parents) if folder.is_dir()), path)
    if not may(existing, os.W_OK | os.X_OK):
        denied = "permission denied" if existing == path else f"permission denied in {existing}"
        stop(f"--out: expected a folder that can be written to, got {out} ({denied})")


def _described(kind: str) -> str:
    return "a file" if kind == "file" else kind


def data_error(error: OSError | ValueError, folders: Mapping[str, Path | None]) -> str:
    """Return the error of a data set that cannot be read, with the option that it comes from.

    Args:
        error: what a reader raised: it names its argument or a file.
        folders: option to folder.

    """
    if not isinstance(error, OSError) or error.filename is None:
        line = str(error)
        return f"--{line}" if line.partition(":")[0] in {*folders, "split"} else line
    file, reason = Path(os.fsdecode(error.filename)), (error.strerror or str(error)).lower()
    if isinstance(error, FileNotFoundError):
        for option, folder in folders.items():
            if folder is not None and folder in file.parents:
                what = "another folder" if option == "root" else "the folder of its lists"
                return (
                    f"--{option}: expected a folder of this data set, got {folder}, which has no "
                    f"{file.relative_to(folder)}; if it is elsewhere, give {what}"
                )
    return f"{file}: {reason}"


def refuse(options: Mapping[str, object], reason: str) -> None:
    """Stop if one of these options is given, because it would have no effect."""
    for name, value in options.items():
        if value is not None and value is not False and value != []:  # 0 is given
            stop(f"--{name.replace('_', '-')}: {reason}")
