"""One run of ``report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.text import Text

from wsolrefine.cli.console import list_problems, output_console, printable, progress_bar, stop
from wsolrefine.cli.files import FolderInUse, kind_of, replacing, termination_as_interrupt
from wsolrefine.cli.images import quiet
from wsolrefine.cli.label.options import require_scale
from wsolrefine.cli.refine.coco import RESULTS
from wsolrefine.cli.report.agreement import merged
from wsolrefine.cli.report.beside import PAGE, Fill, asset_names, write_folder
from wsolrefine.cli.report.charts import find_evaluation, read_evaluation
from wsolrefine.cli.report.content import content
from wsolrefine.cli.report.gather import Gathered, Keep, gather
from wsolrefine.cli.report.page import embedded, foot, head
from wsolrefine.cli.report.refined import read_refined
from wsolrefine.cli.report.runs import Run

LABELED = "label.json"
"""The file that tells a folder of ``label``; its package is imported only for one."""

LARGE = 200_000_000
"""Bytes of a page from which --folder is recommended: browsers read all of it at once."""


def run(
    folders: Sequence[Path],
    out: Path,
    folder: bool,
    evaluation: Path | None,
    title: str | None,
    size: int,
    limit: int | None,
) -> None:
    """Write a report, and list at the end what could not be read.

    Args:
        folders: of ``refine`` or ``label``.
        out: file of the page, or its folder.
        folder: whether pictures and maps lie beside the page.
        evaluation: of ``evaluate``; None: the one in the folders, if any.
        title: of the page; None: the names of the folders.
        size: longest side of a picture.
        limit: the most images to take of each folder; None: all.

    """
    runs = [_read(path, limit) for path in folders]
    curves = find_evaluation(evaluation, folders)
    shown = None if curves is None else read_evaluation(curves)
    images, entries = merged(runs)
    if not images:
        stop("RESULTS: expected results of at least one image, got none")
    name = ", ".join(run.name for run in runs) if title is None else title
    heading = printable(name).plain

    def fill(keep: Keep) -> tuple[Gathered, bytes]:
        """Pass on all assets; return the end of the page too."""
        with progress_bar("reading", len(images)) as advance, quiet():
            done = gather(images, entries, size, keep, advance)
        known = content(runs, images, entries, done.maps, done.lost, shown)
        return done, foot(known | {"folder": folder})

    try:
        with termination_as_interrupt():
            if folder:
                names = asset_names(len(images), entries)
                page = out / PAGE
                done = write_folder(out, names, head(heading, folder=True), fill)
            else:
                page, done = out, _write_page(out, head(heading, folder=False), fill)
    except FolderInUse:
        stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}", 1)
    _summarize(page, len(images))
    list_problems(done.problems)
    if done.problems:
        raise typer.Exit(1)


def _read(path: Path, limit: int | None) -> Run:
    if kind_of(path / RESULTS) == "file":
        return read_refined(path, limit)
    if kind_of(path / LABELED) != "file":
        stop(f"RESULTS: expected a folder of wsolrefine refine or label, got {path}")
    require_scale("report of labels")
    from wsolrefine.cli.report.labeled import read_labeled

    return read_labeled(path, limit)


def _write_page(out: Path, first: bytes, fill: Fill) -> Gathered:
    with replacing(out) as temporary, temporary.open("wb") as file:
        file.write(first)

        def keep(name: str, content: bytes) -> None:
            file.write(embedded(name, content))

        done, last = fill(keep)
        file.write(last)
    return done


def _summarize(page: Path, images: int) -> None:
    console = output_console(soft_wrap=True)
    size = page.stat().st_size
    console.print(f"{images:,} images, {size / 1e6:,.1f} MB.")
    if size > LARGE:
        console.print("Browsers open large pages slowly: use --folder, or a smaller --size.")
    console.print(Text.assemble("Page: ", printable(page, console)))
