"""``wsolrefine report``: a page to look at results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import kind_of
from wsolrefine.cli.options import check_out, parse_path

PAGE, FOLDER = Path("wsolrefine-report.html"), Path("wsolrefine-report")


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS...",
            parser=parse_path,
            help="Folders of wsolrefine refine or label; several of the same images are compared.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="PATH",
            help=f"File of the page, or with --folder its folder. Default: {PAGE}, {FOLDER}.",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        bool,
        typer.Option("--folder", help="Write pictures and maps beside the page, for many images."),
    ] = False,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="PATH",
            help="Folder of wsolrefine evaluate, or its evaluation.json, whose curves are shown. "
            "Default: the one in RESULTS, if any.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the page. Default: the names of RESULTS.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=64, max=4096, help="Longest side of a photograph in pixels.")
    ] = 800,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use only this many images of each folder, from the first. Default: all.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a page to look at results in a browser, without a server or a network.

    [bold]Examples[/bold]

        wsolrefine report wsolrefine-results

        wsolrefine report scg balanced cam --out methods.html

        wsolrefine report wsolrefine-results --folder --out look

    [bold]In the page[/bold]

    A grid of photographs with their boxes, sorted by score, size of the box or
    the mask, or agreement of several RESULTS, and filtered by class; a large
    view with a slider for the threshold; a table of classes; the curves of
    wsolrefine evaluate.
    """
    for path in results:
        if (kind := kind_of(path)) != "folder":
            stop(f"RESULTS: expected a folder, got {path} ({kind})")
    if title is not None and not title.strip():
        stop(f"--title: expected a text, got {title!r}")
    target = out or (FOLDER if folder else PAGE)
    if folder:
        check_out(target)
    else:
        _check_page(target)

    from wsolrefine.cli.report.write import run

    run(results, target, folder, evaluation, title, size, limit)


def _check_page(path: Path) -> None:
    """Stop if a page cannot be written to a path, or a file of the user's own is there."""
    from wsolrefine.cli.report.page import is_report

    kind = kind_of(path)
    if kind == "folder":
        stop(f"--out: expected a file, got the folder {path}; with --folder it may be one")
    check_out(path.parent)
    if kind == "file" and not is_report(path):
        stop(f"--out: expected a new file, or an earlier report, got {path}")
    if kind not in ("file", "no such file or folder"):
        stop(f"--out: expected a file, got {path} ({kind})")
