"""``wsolrefine refine``: heatmaps, masks and boxes for files and folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine import Localizer
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
from wsolrefine.cli.options import (
    Device,
    Images,
    Layer,
    Method,
    Model,
    RecipeFile,
    parse_path,
    refuse,
    threshold_option,
)
from wsolrefine.cli.refine.classes import labels_hash
from wsolrefine.cli.refine.outputs import FOLDERS, OVERLAY_SIZE, parse_write
from wsolrefine.localization.masks import check_parts
from wsolrefine.localization.methods import METHODS


def refine(
    images: Images,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="FOLDER",
            help="Folder for the results, created if missing.",
        ),
    ] = Path("wsolrefine-results"),
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
        str,
        typer.Option(
            "--classes", "-c", help="top1, top5, or a comma-separated list of indices or names."
        ),
    ] = "top1",
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FILE",
            help="Instead of --classes: image-level labels (.json, .csv, .npy), the classes of "
            "each image.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        threshold_option(
            ", ".join(f"{method.threshold} ({name})" for name, method in METHODS.items())
            + ", or that of the recipe"
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="largest|all|instances",
            help="Mask and box of the largest component (default), of all components together, or "
            "of each of several objects of the class.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images per forward pass of the model.")
    ] = 8,
    device: Device = "auto",
    write: Annotated[
        str | None,
        typer.Option(
            metavar="maps,masks,overlays|none",
            help="Pictures to write for each image. Default: all. Boxes and masks are in "
            "wsolrefine.json in any case.",
        ),
    ] = None,
    overlay_size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=16384,
            help=f"Longest side of an overlay in pixels. Default {OVERLAY_SIZE}.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            min=1,
            help="Threads that read images and write results. Default: as many as there are "
            "cores, at most 4.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Refine one share of N, counted from 0: 0/4, 1/4, 2/4 or 3/4. Each share needs "
            "a folder --out of its own.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Refine only this many images, the first ones.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Recompute existing results.")
    ] = False,
) -> None:
    """Write a refined heatmap, a mask, an overlay and a box for each image.

    [bold]Examples[/bold]

        wsolrefine refine photo.jpg

        wsolrefine refine photos/ 'more/**/*.png' --out results --classes top3

        wsolrefine refine photos --model timm:resnet50 --layer layer3 --layer layer2

        wsolrefine refine photos --model timm:resnet50 --checkpoint best.pt
        --class-names names.txt

        wsolrefine refine photos --model clip:openai/clip-vit-base-patch16
        --classes 'a cup, a saucer'

        wsolrefine refine photos --classes 'tabby, 207' --method sem --threshold 0.5

        wsolrefine refine photos --labels labels.csv --parts instances

        wsolrefine refine photos --recipe spol/spol.safetensors

        wsolrefine refine photos --write none --out share0 --shard 0/8

    [bold]Results[/bold]

    In the folder --out: maps/ and masks/ (0 and 255), PNG files of the size of
    the image, overlays/ (JPEG), and wsolrefine.json in COCO format: images,
    categories, annotations (box, area, run-length mask, score), one for each
    object. The edge recipe (sem_edges) writes no masks or boxes. A second run
    skips finished images.

    [bold]Exit codes[/bold]

    0 all done; 1 something could not be read or written, listed at the end;
    2 nothing to do, or an invalid option; 130 stopped by Ctrl-C, run again
    to continue.
    """
    changes = with_texts(changes_of(checkpoint, class_names, input_size, mean, std), model, classes)
    choice = choose_localizer(model, recipe, method, layer, threshold, changes, parts=parts)
    try:
        settings = choice.settings | {
            "classes": classes,
            "parts": check_parts("largest" if parts is None else parts),
            "write": list(FOLDERS) if write is None else parse_write(write),
        }
        share = None if shard is None else parse_shard(shard)
        if labels is not None:
            settings["labels"] = labels_hash(labels)
    except ValueError as error:
        stop(f"--{error}")
    if not choice.regions and "masks" in settings["write"]:
        if write is not None:
            stop(f"--write: expected no masks for {settings['recipe']}, whose maps are edges")
        settings["write"].remove("masks")
    if labels is not None and classes != "top1":
        stop("--classes: --labels names the classes of each image")
    if "overlays" not in settings["write"]:
        refuse({"overlay_size": overlay_size}, "--write names no overlays")
    settings["overlay_size"] = overlay_size or OVERLAY_SIZE

    def load() -> Localizer:
        localizer = choice.load(device)
        localizer.parts = settings["parts"]
        return localizer

    from wsolrefine.cli.refine.loop import Options, run

    run(images, out, settings, Options(batch_size, overwrite, workers, share, limit, labels), load)
