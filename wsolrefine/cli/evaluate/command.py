"""``wsolrefine evaluate``: the metrics that papers report, for score maps or a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.changes import Checkpoint, ClassNames, InputSize, Mean, Std, changes_of
from wsolrefine.cli.evaluate.options import MAX_SIZE, SIZE, Hit, Labels, check, check_edges
from wsolrefine.cli.loading import load_localizer
from wsolrefine.cli.options import (
    Dataset,
    Device,
    Layer,
    Metadata,
    Method,
    Model,
    RecipeFile,
    Root,
    parse_path,
)


def evaluate(
    dataset: Annotated[
        Dataset,
        typer.Option(
            "--dataset",
            "-d",
            metavar="NAME",
            help="cub, ilsvrc, openimages or wsolevaluation (its lists, also for your own data).",
            show_default=False,
        ),
    ],
    root: Root = None,
    metadata: Metadata = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FOLDER",
            help="Folder of pixel masks for ilsvrc: those of SEM.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate. Default: test (cub, openimages) or val (ilsvrc)."),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FOLDER",
            help="Folder of score maps, .npy or .png, named like the images; or use --model or "
            "--recipe.",
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize",
            help="Min-max normalize each score map. Otherwise, a value outside [0, 1] stops the "
            "run.",
        ),
    ] = False,
    model: Model = None,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    input_size: InputSize = None,
    mean: Mean = None,
    std: Std = None,
    recipe: RecipeFile = None,
    method: Method = None,
    layer: Layer = None,
    labels: Annotated[
        Labels | None,
        typer.Option(
            help="Map of the true class or of the predicted class. Default: true if the model has "
            "as many classes as the data set, else predicted."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=MAX_SIZE,
            help="Side in pixels to which the model's maps are resized. Default 224.",
        ),
    ] = None,
    hit: Annotated[
        Hit | None,
        typer.Option(
            help="In Top-1, Top-5 and GT-known, a box needs an IoU of at-least 0.5 (default) or "
            "above 0.5."
        ),
    ] = None,
    step: Annotated[float, typer.Option(help="Step between thresholds.")] = 0.001,
    threshold_from: Annotated[
        str | None,
        typer.Option(
            help="Split on which the thresholds are chosen (for wsolevaluation: its folder of "
            "lists). Default: the evaluated split itself."
        ),
    ] = None,
    threshold_maps: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FOLDER",
            help="Folder of the score maps of that split. Default: that of --maps.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use only this many images of each split, from the first."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images processed at once.")
    ] = 16,
    device: Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            min=1,
            help="Threads that read images and count. Default: as many as there are cores, at "
            "most 4.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="FOLDER",
            help="Folder for results and plots, created if missing.",
        ),
    ] = Path("wsolrefine-evaluation"),
) -> None:
    """Evaluate score maps, or a model with a method, in the same way as papers.

    [bold]Examples[/bold]

        wsolrefine evaluate -d cub --root CUB_200_2011 --maps scoremaps

        wsolrefine evaluate -d wsolevaluation --metadata metadata/CUB/test
        --maps scoremaps --threshold-from metadata/CUB/val

        wsolrefine evaluate -d openimages --root OpenImages
        --metadata metadata/OpenImages --maps scoremaps

        wsolrefine evaluate -d cub --root CUB_200_2011
        --model efficientnet-lite0 --method scg --limit 200

        wsolrefine evaluate -d cub --root CUB_200_2011
        --recipe spol/spol.safetensors

    [bold]Results[/bold]

    Prints the protocol and the results: MaxBoxAcc and MaxBoxAccV2 for boxes,
    PxAP and Peak-IoU for masks; also Top-1, Top-5, GT-known and the error
    types if model and data set have the same classes. For the edge recipe
    (sem_edges): ODS, OIS and AP. Writes evaluation.json and plots to the
    folder --out.

    [bold]Exit codes[/bold]

    0 done; 1 something could not be read or written: it is listed, and no
    results are reported; 2 an invalid option; 130 stopped by Ctrl-C.
    """
    given = {**locals()}
    changes = changes_of(checkpoint, class_names, input_size, mean, std)
    check(given, changes)
    from wsolrefine.cli.evaluate.counts import make_rule
    from wsolrefine.cli.evaluate.dataset import Folders, open_data
    from wsolrefine.cli.evaluate.pipeline import Pace, run
    from wsolrefine.cli.evaluate.score_maps import MapFolder, ModelMaps, Source, Sources

    data = open_data(Folders(dataset, root, metadata, masks), split, threshold_from, limit)
    source: Source
    if maps is not None:
        source = MapFolder(maps, normalize)
        true_class = False
    else:
        localizer = load_localizer(model, recipe, method, layer, device, changes)
        if not localizer.regions:
            check_edges(given, localizer.name, data.split.name, data.split.reader.has_masks)
        source = ModelMaps(localizer, data.split, labels, size or SIZE)
        true_class = source.true_class
    other = source if threshold_maps is None else MapFolder(threshold_maps, normalize)
    rule = make_rule(step, hit is Hit.above, true_class)
    run(data, Sources(source, other), rule, Pace(batch_size, workers), out, given)
