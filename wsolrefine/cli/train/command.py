"""``wsolrefine train``: the papers' recipes on images with labels alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.loading import require_training
from wsolrefine.cli.options import Dataset, Device, Metadata, Root
from wsolrefine.cli.train.options import Options, Precision, RecipeName


def train(
    recipe: Annotated[
        RecipeName, typer.Argument(help="What is trained, by paper.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the run; made if missing.", show_default=False
        ),
    ],
    dataset: Annotated[
        Dataset | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Layout of the data set; folder: one sub-folder a class.",
        ),
    ] = None,
    root: Root = None,
    metadata: Metadata = None,
    split: Annotated[str | None, typer.Option(help="What is trained on. Default train.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            "-m",
            help="efficientnet-lite0 (the default), timm:NAME, torchvision:NAME or "
            "module:callable.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Epochs altogether: all phases of the recipe are brought to it in proportion. "
            "Default: those of the paper.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=2, help="Images of a step, by device. Default 32."),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of new layers; that of the backbone is scaled with it. Default: "
            "the recipe's."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side that images are resized to. Default 256.")
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the random part that is trained on. Default 224."),
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="NAME=VALUE",
            help="A hyper-parameter of the recipe; repeat for several.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of weights, order, crops and dropout. Default 0.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Numbers the network computes with. Default 32-true.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="How many devices work together. Default 1.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=0, help="Processes that read images.")
    ] = 0,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep the checkpoint of every epoch, not the last.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out; its settings are known there."),
    ] = False,
) -> None:
    """Train a recipe from image-level labels and save everything in one file.

    [bold]Examples[/bold]

        wsolrefine train spol -d cub --root CUB_200_2011 --out spol

        wsolrefine train spa -d folder --root photos --out spa --epochs 20
        --set restriction_weight=0.3 --set scg_stages=-3,-2

        wsolrefine train csoa -d ilsvrc --root ILSVRC --out csoa
        --backbone timm:resnet50 --devices 4 --precision 16-mixed --workers 8

        wsolrefine train spol --out spol --resume

    [bold]Results[/bold]

    RECIPE.safetensors in the folder --out: weights, and all that is needed
    to build the recipe again. refine --recipe and evaluate --recipe take it.
    Beside it checkpoints/, log/ (a table of losses) and run.json.

    [bold]Exit code[/bold]

    0 done; 1 something could not be read or written; 2 a wrong option; 130
    stopped by Ctrl-C: --resume goes on after the last epoch that was done.
    """
    given = {**locals(), "set": set or None}
    require_training("training")
    from wsolrefine.cli.train.pipeline import run

    run(Options(**given))
