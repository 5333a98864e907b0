"""``wsolrefine refine``: maps, masks and boxes for files and folders of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.maps import THRESHOLDS, Method, Parts
from wsolrefine.cli.report import stop


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
        str,
        typer.Option(
            "--model",
            "-m",
            help="efficientnet-lite0, timm:NAME, torchvision:NAME or module:callable.",
        ),
    ] = "efficientnet-lite0",
    method: Annotated[
        Method, typer.Option(help="How the map is refined; cam leaves it as it is.")
    ] = Method.scg,
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
            + ".",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        Parts, typer.Option(help="Mask and box of the largest piece, or of all pieces.")
    ] = Parts.largest,
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

    [bold]Results[/bold]

    maps/, masks/ (0 and 255, size of the image) and overlays/ in the folder
    --out, named like the images with .png behind, and wsolrefine.json: COCO
    images, categories, annotations (box, area, run-length mask, score).
    A second run skips what is done.

    [bold]Exit code[/bold]

    0 all done; 1 something could not be read or written, named at the end;
    2 nothing to do or a wrong option; 130 stopped by Ctrl-C (run again to
    go on).
    """
    chosen = THRESHOLDS[method] if threshold is None else threshold
    if not 0 <= chosen < 1:
        stop(f"--threshold: expected a number in [0, 1), got {chosen}")
    settings = {
        "model": model,
        "method": method.value,
        "layers": layer or "auto",
        "classes": classes,
        "threshold": chosen,
        "parts": parts.value,
    }
    from wsolrefine.cli.run import run

    run(images, out, settings, batch_size=batch_size, device=device, overwrite=overwrite)
