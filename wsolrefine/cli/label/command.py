"""``wsolrefine label``: labels, masks and boxes of a whole data set, as Parquet."""

from __future__ import annotations

from typing import Annotated

import typer

from wsolrefine._shards import parse_shard
from wsolrefine.cli.changes import (
    Checkpoint,
    ClassNames,
    InputSize,
    Mean,
    Std,
    changes_of,
    with_texts,
)
from wsolrefine.cli.choice import choose_localizer
from wsolrefine.cli.console import stop
from wsolrefine.cli.label.options import Out, parse_address, require_scale
from wsolrefine.cli.options import PARTS, Layer, Method, Model, RecipeFile, threshold_option


def label(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder (searched recursively), a quoted glob, a list of files (.txt), Parquet, "
            "COCO (.json) or tar files, on this machine or at an address of fsspec.",
            parser=parse_address,
            show_default=False,
        ),
    ],
    out: Out,
    root: Annotated[
        str | None,
        typer.Option(
            parser=parse_address,
            metavar="FOLDER",
            help="Folder or address from which paths in lists lead. Default: that of the list.",
        ),
    ] = None,
    model: Model = None,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    input_size: InputSize = None,
    mean: Mean = None,
    std: Std = None,
    method: Method = None,
    recipe: RecipeFile = None,
    layer: Layer = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            "-c",
            help="top1, top5, a comma-separated list of indices or names, or source: the classes "
            "that the source names. Default: source if it names any, else top1.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[float | None, threshold_option("that of the method or the recipe")] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PARTS),
            help="Mask and box of the largest component (default), or of all components together.",
        ),
    ] = None,
    maps: Annotated[
        bool, typer.Option(help="Store the maps too, for wsolrefine threshold.")
    ] = True,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images per forward pass of the model.")
    ] = 8,
    part_size: Annotated[
        int, typer.Option(min=1, help="Images in a file of results; a killed run does these again.")
    ] = 512,
    devices: Annotated[
        int | None,
        typer.Option(min=0, help="GPUs to use. Default: all; 0: none.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes on CPUs: they read images, and without a GPU hold the model. Default: "
            "one for each core.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Address of a running Ray cluster, or auto. Default: this machine alone.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do share I of N, counted from 0, for wsolrefine merge.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Label a whole data set: class, score, box and mask of each image, as Parquet.

    [bold]Examples[/bold]

        wsolrefine label photos --out labels

        wsolrefine label 'shards/*.tar' --out labels --workers 2

        wsolrefine label train.json --root images --out labels

        wsolrefine label s3://bucket/photos --out s3://bucket/labels --address auto

        wsolrefine label photos --out labels/3 --shard 3/8

    [bold]Results[/bold]

    In the folder --out: labels/, Parquet files with a row for each image and
    class, and label.json with the settings. An image that cannot be read is a
    row with its error. A run that was killed goes on where it was; a finished
    one does nothing.

    [bold]Exit codes[/bold]

    0 all done; 1 something could not be read or written, or a process
    failed; 2 nothing to do, or an invalid option; 130 stopped by Ctrl-C, run
    again to continue.
    """
    require_scale("label")
    changes = with_texts(changes_of(checkpoint, class_names, input_size, mean, std), model, classes)
    choice = choose_localizer(
        model, recipe, method, layer, threshold, changes, parts=parts, no_maps=not maps
    )
    if parts not in (None, *PARTS):
        stop(f"--parts: expected {' or '.join(PARTS)}, got {parts!r}")
    try:
        share = None if shard is None else parse_shard(shard)
    except ValueError as error:
        stop(f"--{error}")
    settings = choice.settings | {
        "source": source,
        "root": root,
        "classes": classes,
        "parts": "largest" if parts is None else parts,
        "maps": maps,
        "batch_size": batch_size,
        "part_size": part_size,
        "shard": None if share is None else str(share),
    }
    from wsolrefine.cli.label.run import run
    from wsolrefine.cli.label.work import Resources

    # On the CPU here; workers with a GPU move it there.
    run(out, settings, share, lambda: choice.load("cpu"), Resources(devices, workers, address))
