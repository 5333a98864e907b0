"""``wsolrefine export``: results in the formats of trainers and annotation tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.console import stop
from wsolrefine.cli.export.formats import Format, options_of
from wsolrefine.cli.label.options import parse_address
from wsolrefine.cli.options import check_out, parse_path


def export(
    results: Annotated[
        str,
        typer.Argument(
            metavar="RESULTS",
            help="Folder of wsolrefine refine, or folder or address of wsolrefine label.",
            parser=parse_address,
            show_default=False,
        ),
    ],
    to: Annotated[Format, typer.Option(help="The format.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=parse_path, metavar="FOLDER", help="A new or empty folder."
        ),
    ],
    used: Annotated[
        bool,
        typer.Option(
            "--used", help="Only classes that have an object, counted anew from 0 without gaps."
        ),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FILE",
            help="Image-level labels (.json, .csv, .npy): objects of other classes are left out.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", help="Leave out objects with a lower score.", metavar="S"),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="link|copy|none",
            help="Images in the data set: as links (default), copies, or none. For coco, yolo, "
            "yolo-seg, voc, masks, labelme.",
        ),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="yolo: share of the images for validation. Default 0."),
    ] = None,
    polygons: Annotated[
        bool, typer.Option("--polygons", help="coco: polygons instead of run lengths.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="How far in pixels polygons may be from the mask; 0: exact. Default 1. For coco, "
            "yolo-seg, labelme, labelstudio."
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="FILE",
            help="coco-results: the COCO file whose ids of images and categories are taken.",
        ),
    ] = None,
    foreground: Annotated[
        float | None,
        typer.Option(help="masks: value of the map above which a pixel is object."),
    ] = None,
    background: Annotated[
        float | None,
        typer.Option(
            help="masks: value of the map below which a pixel is background; between both it is "
            "255. sam: the same for negative points, default 0.1."
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="score|map",
            help="masks: which of several objects has a pixel, by score (default) or map.",
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(help="labelstudio: the address of an image before its name."),
    ] = None,
    shapes: Annotated[
        str | None,
        typer.Option(
            metavar="brush|polygon|none", help="labelstudio: how masks are given. Default brush."
        ),
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="sam: points on each object, at most. Default 3.")
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(help="sam: points on the background, at most. Default 3.")
    ] = None,
) -> None:
    """Write results of refine or label in the format of a trainer or an annotation tool.

    [bold]Examples[/bold]

        wsolrefine export wsolrefine-results --to coco --used --out coco

        wsolrefine export labels --to yolo-seg --used --validation 0.1 --out yolo

        wsolrefine export results --to masks --foreground 0.5 --background 0.2 --out voc

        wsolrefine export results --to labelstudio --used --out tasks

    An image whose mask is empty has no object. The folder appears when all of
    it is written.

    [bold]Exit codes[/bold]

    0 all done; 1 something could not be read or written; 2 an invalid option,
    or no results; 130 stopped by Ctrl-C, nothing is left.
    """
    given = {
        "images": images,
        "validation": validation,
        "polygons": polygons or None,
        "tolerance": tolerance,
        "like": like,
        "foreground": foreground,
        "background": background,
        "overlap": overlap,
        "prefix": prefix,
        "shapes": shapes,
        "points": points,
        "negatives": negatives,
    }
    try:
        chosen = options_of(to, given)
    except ValueError as error:
        stop(f"--{error}")
    check_out(out)
    from wsolrefine.cli.export.run import run

    run(results, to, out, chosen, used, labels, min_score)
