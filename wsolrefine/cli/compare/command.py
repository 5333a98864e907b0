"""``wsolrefine compare``: methods side by side on a few photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.console import stop
from wsolrefine.cli.options import (
    Device,
    Images,
    Layer,
    Model,
    check_out,
    parse_path,
    threshold_option,
)
from wsolrefine.localization.masks import check_threshold
from wsolrefine.localization.methods import METHODS

CAM = "cam"


def compare(
    images: Images,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="FOLDER",
            help="Folder for the picture and the tables, created if missing.",
        ),
    ] = Path("wsolrefine-comparison"),
    model: Model = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help=f"Refinements beside the CAM: {', '.join(m for m in METHODS if m != CAM)}. "
            "Default: all.",
            show_default=False,
        ),
    ] = None,
    layer: Layer = None,
    threshold: Annotated[float | None, threshold_option("that of each method")] = None,
    device: Device = "auto",
) -> None:
    """Compare methods on photographs: one picture and one table.

    [bold]Examples[/bold]

        wsolrefine compare photo.jpg

        wsolrefine compare photos --methods scg,sem,balanced --model timm:resnet50

    [bold]Results[/bold]

    In the folder --out: compare.png (a row per photograph, a column per
    method: heatmap, box, and dashed the box of the CAM), compare.md,
    compare.csv and compare.json (class, score, box, share of the mask, IoU
    with the box of the CAM, agreement with the other methods, seconds).
    """
    names = parse_methods(methods)
    try:
        if threshold is not None:
            check_threshold(threshold)
    except ValueError as error:
        stop(f"--{error}")
    check_out(out)

    from wsolrefine.cli.compare.run import run

    run(images, out, model, names, layer, threshold, device)


def parse_methods(text: str | None) -> list[str]:
    """Return the names of methods, the CAM first, or stop.

    Example:
        >>> parse_methods("scg, fast,scg")
        ['cam', 'scg', 'fast']

    """
    words = list(METHODS) if text is None else [word.strip() for word in text.split(",")]
    for word in words:
        if word not in METHODS:
            stop(f"--methods: expected some of {', '.join(METHODS)}, got {word!r:.80}")
    return list(dict.fromkeys([CAM, *words]))
