"""``wsolrefine evaluate``: the figures that papers print, of score maps or of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.evaluate.options import SIZE, Hit, Labels, check, check_edges
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
)


def evaluate(
    dataset: Annotated[
        Dataset, typer.Option("--dataset", "-d", help="Layout of the data set.", show_default=False)
    ],
    root: Root = None,
    metadata: Metadata = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of pixel masks for ilsvrc, those of SEM.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="What is evaluated; by default test (cub, openimages), val (ilsvrc)."),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option(help="Folder of score maps, .npy or .png, named like the images."),
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Min-max each score map; else they are in [0, 1].")
    ] = False,
    model: Model = None,
    recipe: RecipeFile = None,
    method: Method = None,
    layer: Layer = None,
    labels: Annotated[
        Labels | None,
        typer.Option(
            help="Map of the true class or of the predicted one. By default the true one where the "
            "model has as many classes as the data set."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=2, help="Side of the model's maps in pixels, bicubic. Default 224."),
    ] = None,
    hit: Annotated[
        Hit | None,
        typer.Option(
            help="When a box is a hit in Top-1, Top-5 and GT-known: IoU at-least 0.5 (the default) "
            "or above 0.5."
        ),
    ] = None,
    step: Annotated[
        float, typer.Option(help="Distance of the thresholds of boxes and of PxAP.")
    ] = 0.001,
    threshold_from: Annotated[
        str | None,
        typer.Option(
            help="Split (for wsolevaluation: its metadata folder) on which the thresholds are "
            "chosen. Without it they are the best on the evaluated split itself."
        ),
    ] = None,
    threshold_maps: Annotated[
        Path | None, typer.Option(help="Folder of the score maps of that split, if another.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many images, for a quick look.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images worked on at once.")
    ] = 16,
    device: Device = "auto",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for figures and plots; made if missing.")
    ] = Path("wsolrefine-evaluation"),
) -> None:
    """Measure score maps, or a model with a method, the way papers do.

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

    The protocol and the figures: MaxBoxAcc and MaxBoxAccV2 where there are
    boxes, PxAP and Peak-IoU where there are masks, Top-1, Top-5, GT-known
    and the kinds of errors where the model's classes are those of the data
    set; for the edge recipe (sem_edges) ODS, OIS and AP. evaluation.json and
    plots in the folder --out.

    [bold]Exit code[/bold]

    0 done; 1 something could not be read or written: it is named, and there
    are no figures; 2 a wrong option; 130 stopped by Ctrl-C.
    """
    given = {**locals()}
    check(given)
    from wsolrefine.cli.evaluate.counts import rule_of
    from wsolrefine.cli.evaluate.dataset import Folders, open_data
    from wsolrefine.cli.evaluate.pipeline import run
    from wsolrefine.cli.evaluate.score_maps import MapFolder, ModelMaps, Source, Sources

    data = open_data(Folders(dataset, root, metadata, masks), split, threshold_from, limit)
    source: Source
    if maps is not None:
        source = MapFolder(maps, normalize)
        true_class = False
    else:
        localizer = load_localizer(model, recipe, method, layer, device)
        if not localizer.regions:
            check_edges(given, localizer.name, data.split.name, data.split.reader.has_masks)
        source = ModelMaps(localizer, data.split.classes, labels, size or SIZE)
        true_class = source.true_class
    other = source if threshold_maps is None else MapFolder(threshold_maps, normalize)
    rule = rule_of(step, hit is Hit.above, true_class)
    run(data, Sources(source, other), rule, batch_size, out, given)
