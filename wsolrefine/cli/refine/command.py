"""``wsolrefine refine``: maps, masks and boxes for files and folders of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsolrefine.cli.console import stop
from wsolrefine.cli.maps import THRESHOLDS, Method, Parts
from wsolrefine.cli.recipe import EDGES, find_recipe


def refine(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Files, folders (to any depth) and quoted globs.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; made if missing.")
    ] = Path("wsolrefine-results"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="efficientnet-lite0 (the default), timm:NAME, torchvision:NAME or "
            "module:callable.",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(help="How the map is refined; cam leaves it as it is. Default scg."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            "-r",
            help="In place of model and method: a file of wsolrefine train. If its backbone is "
            "code of your own, name that with --model.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            help="Layer whose features are used; repeat for several (sem uses the last one). By "
            "default the two stages before the last, 28x28 and 14x14 for a usual network.",
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            "--classes", "-c", help="top1, top5, or a comma-separated list of indices or names."
        ),
    ] = "top1",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            "-t",
            help="Map value in [0, 1) above which a pixel is object. By default "
            + ", ".join(f"{value} ({name.value})" for name, value in THRESHOLDS.items())
            + "; a recipe has its own.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        Parts | None,
        typer.Option(help="Mask and box of the largest piece (the default), or of all pieces."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images run through the model at once.")
    ] = 8,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do again what is done already.")
    ] = False,
) -> None:
    """Write the refined map, the mask, an overlay and the box of every image.

    [bold]Examples[/bold]

        wsolrefine refine photo.jpg

        wsolrefine refine photos/ 'more/**/*.png' --out results --classes top3

        wsolrefine refine photos --model timm:resnet50 --layer layer3 --layer layer2

        wsolrefine refine photos --classes 'tabby, 207' --method sem --threshold 0.5

        wsolrefine refine photos --recipe spol/spol.safetensors

    [bold]Results[/bold]

    maps/, masks/ (0 and 255, size of the image) and overlays/ in the folder
    --out, named like the images with .png behind, and wsolrefine.json: COCO
    images, categories, annotations (box, area, run-length mask, score).
    Of edges (recipe sem_edges) there are no masks and no boxes.
    A second run skips what is done.

    [bold]Exit code[/bold]

    0 all done; 1 something could not be read or written, named at the end;
    2 nothing to do or a wrong option; 130 stopped by Ctrl-C (run again to
    go on).
    """
    found = find_recipe(recipe, model) if recipe is not None else None
    if found is not None:
        _refuse({"method": method, "layer": layer}, "--recipe does not use it")
        if found.about.recipe == EDGES:
            given = {"threshold": threshold, "parts": parts}
            _refuse(given, f"{EDGES} does not use it, its maps are edges")
    kind = method or Method.scg
    chosen = found.about.threshold if found else THRESHOLDS[kind]
    chosen = chosen if threshold is None else threshold
    if not 0 <= chosen < 1:
        stop(f"--threshold: expected a number in [0, 1), got {chosen}")
    settings: dict[str, Any]
    if found is not None:
        settings = {"recipe": found.about.recipe, "sha256": found.sha256}
    else:
        settings = {"model": model or "efficientnet-lite0", "method": kind.value}
        settings["layers"] = layer or "auto"
    settings["classes"] = classes
    settings["threshold"] = chosen
    settings["parts"] = (parts or Parts.largest).value
    from wsolrefine.cli.refine.loop import run

    run(
        images,
        out,
        settings,
        batch_size=batch_size,
        device=device,
        overwrite=overwrite,
        recipe=found,
        model=model,
    )


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Stop if one of the options is given."""
    for name, value in options.items():
        if value not in (None, []):
            stop(f"--{name}: {reason}")
