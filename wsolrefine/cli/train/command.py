"""``wsolrefine train``: the recipes, on images with class labels or, to distill, without."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.changes import Checkpoint, ClassNames
from wsolrefine.cli.loading import require_training
from wsolrefine.cli.options import Dataset, Device, Metadata, Root, parse_path
from wsolrefine.cli.train.options import Options, Precision, RecipeName
from wsolrefine.cli.train.processes import check_environment
from wsolrefine.cli.train.settings import (
    LARGEST_SEED,
    MOST_CLASSES,
    MOST_DEVICES,
    MOST_EPOCHS,
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_WORKERS,
)


def train(
    recipe: Annotated[
        RecipeName, typer.Argument(help="Recipe to train: the method of a paper, or distill.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="FOLDER",
            help="Folder of the run, created if missing.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        Dataset | None,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME",
            help="cub, ilsvrc, openimages, wsolevaluation (its lists, also for your own data), "
            "folder (one subfolder per class), or images (without classes, for distill).",
        ),
    ] = None,
    root: Root = None,
    metadata: Metadata = None,
    split: Annotated[str | None, typer.Option(help="Split to train on. Default train.")] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            "-m",
            help="Classifier to start from: efficientnet-lite0 (default), timm:NAME, "
            "torchvision:NAME or package.module:callable.",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_EPOCHS,
            help="Total number of epochs; all phases of the recipe, and its warm-up, are scaled "
            "in proportion. Default: the recipe's.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            "-b",
            min=2,
            max=MOST_IMAGES,
            help="Images per step, on each device. Default 32.",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate of new layers; that of the backbone is scaled with it. "
            "Default: the recipe's."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_PIXELS, help="Side in pixels that images are resized to. Default 256."
        ),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_PIXELS, help="Side of the random crop used for training. Default 224."
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MOST_CLASSES,
            help="Number of classes, for lists without class names. Default: the largest label and "
            "one; then every class must have an image.",
        ),
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
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Random seed of weights, order, crops and dropout. Default 0.",
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Numerical precision. Default 32-true.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, max=MOST_DEVICES, help="Number of devices. Default 1.")
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int,
        typer.Option(
            "--workers", "-w", min=0, max=MOST_WORKERS, help="Processes that read images."
        ),
    ] = 0,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--keep-all", help="Keep the checkpoint of every epoch instead of only the last one."
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the run in --out with its stored settings; repeat --backbone, "
            "--checkpoint and --class-names.",
        ),
    ] = False,
) -> None:
    """Train a recipe from image-level labels and save everything in one file.

    distill needs no labels: a slow method on the classifier teaches a small
    network.

    [bold]Examples[/bold]

        wsolrefine train spol -d cub --root CUB_200_2011 --out spol

        wsolrefine train spa -d folder --root photos --out spa --epochs 20
        --set restriction_weight=0.3 --set scg_stages=-3,-2

        wsolrefine train csoa -d ilsvrc --root ILSVRC --out csoa
        --backbone timm:resnet50 --devices 4 --precision 16-mixed --workers 8

        wsolrefine train spol -d folder --root photos --out spol
        --backbone timm:resnet50 --checkpoint best.pt

        wsolrefine train distill -d images --root photos --out small
        --set teacher=accurate

        wsolrefine train ornet -d cub --root CUB_200_2011 --out ornet
        --set evaluate_at=pixels --set train_backbone=true --set head_epochs=0
        --set evaluator_epochs=30 --set reads=-3 --set with_cam=false
        --set generator_epochs=70 --set refinement_epochs=30
        --set refinement_auxiliary_weight=0 --set entropy_weight=1.5
        --set learning_rate=0.001 --set refinement_factor=0.1

        wsolrefine train spol --out spol --resume

    [bold]Settings of the papers[/bold]

    Where the defaults of ornet are not those of its paper, the example above
    sets them. In Python they are Ornet.PAPER.

    [bold]Results[/bold]

    In the folder --out: RECIPE.safetensors, the trained recipe, for
    refine --recipe and evaluate --recipe; also checkpoints/, losses.csv (by
    step) and run.json (settings).

    [bold]Exit codes[/bold]

    0 done; 1 something could not be read or written, or the loss is NaN or
    infinite; 2 an invalid option;
    130 stopped by Ctrl-C, use --resume to continue after the last finished
    epoch.
    """
    given = {**locals(), "set": set or None}
    check_environment()
    require_training("training")
    from wsolrefine.cli.train.pipeline import run

    run(Options(**given))
