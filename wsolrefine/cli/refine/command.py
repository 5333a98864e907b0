"""``wsolrefine refine``: maps, masks and boxes for files and folders of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wsolrefine import Localizer
from wsolrefine.cli.console import stop
from wsolrefine.cli.loading import DEFAULT_MODEL, load_localizer, read_recipe
from wsolrefine.cli.options import Device, Layer, Method, Model, RecipeFile, refuse
from wsolrefine.localization.masks import check_parts, check_threshold
from wsolrefine.localization.methods import DEFAULT, METHODS


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
    model: Model = None,
    method: Method = None,
    recipe: RecipeFile = None,
    layer: Layer = None,
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
            + ", ".join(f"{method.threshold} ({name})" for name, method in METHODS.items())
            + "; a recipe has its own.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="largest|all",
            help="Mask and box of the largest component (the default), or of all components.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images run through the model at once.")
    ] = 8,
    device: Device = "auto",
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
    The edge recipe (sem_edges) writes no masks or boxes.
    A second run skips what is done.

    [bold]Exit code[/bold]

    0 all done; 1 something could not be read or written, named at the end;
    2 nothing to do or a wrong option; 130 stopped by Ctrl-C (run again to
    go on).
    """
    head = None
    if recipe is not None:
        head = read_recipe(recipe, model)
        from wsolrefine.recipes.checkpoint import recipe_class

        refuse({"method": method, "layer": layer}, "--recipe does not use it")
        if not recipe_class(head.metadata.recipe).regions:
            reason = f"{head.metadata.recipe} does not use it, its maps are edges"
            refuse({"threshold": threshold, "parts": parts}, reason)
        settings: dict[str, Any] = {"recipe": head.metadata.recipe, "sha256": head.sha256}
        own_threshold = head.metadata.threshold
    else:
        name = method or DEFAULT
        if name not in METHODS:
            stop(f"--method: expected one of {', '.join(METHODS)}, got {name!r}")
        settings = {"model": model or DEFAULT_MODEL, "method": name, "layers": layer or "auto"}
        own_threshold = METHODS[name].threshold
    settings["classes"] = classes
    settings["threshold"] = own_threshold if threshold is None else threshold
    settings["parts"] = parts or "largest"
    try:
        check_threshold(settings["threshold"])
        check_parts(settings["parts"])
    except ValueError as error:
        stop(f"--{error}")

    def localizer() -> Localizer:
        found = load_localizer(model, head, method, layer, device)
        found.threshold, found.parts = settings["threshold"], settings["parts"]
        return found

    from wsolrefine.cli.refine.loop import run

    run(images, out, settings, batch_size=batch_size, overwrite=overwrite, load=localizer)
