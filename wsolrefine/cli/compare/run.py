"""One run of ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from wsolrefine import Localizer
from wsolrefine.cli.compare.photograph import compare_photograph, try_methods
from wsolrefine.cli.compare.tables import print_summary, write_csv, write_json, write_markdown
from wsolrefine.cli.console import (
    Problems,
    list_problems,
    output_console,
    printable,
    progress_bar,
    stop,
)
from wsolrefine.cli.demo.photograph import localizers
from wsolrefine.cli.files import FolderInUse, replacing, termination_as_interrupt
from wsolrefine.cli.images import quiet
from wsolrefine.cli.journal import check_names, writing
from wsolrefine.cli.loading import load_localizer, own_error
from wsolrefine.cli.refine.inputs import each_once
from wsolrefine.data import UnreadableImage, read_image
from wsolrefine.viz import contact_sheet

RECORDS, SHEET, TABLE, ROWS = "compare.json", "compare.png", "compare.md", "compare.csv"
FILES = (RECORDS, SHEET, TABLE, ROWS)

MOST = 100
"""Photographs in one picture: it grows by a row with each."""


def run(
    arguments: Sequence[str],
    out: Path,
    model: str | None,
    methods: Sequence[str],
    layers: Sequence[str] | None,
    threshold: float | None,
    device: str,
) -> None:
    """Compare methods on photographs, and list at the end what could not be used.

    Args:
        arguments: files, folders and globs.
        out: folder of the results.
        model: name of the classifier; None: the default.
        methods: names of the methods, the CAM first.
        layers: names of the layers whose features are used; None or empty: find them.
        threshold: of all masks; None: that of each method.
        device: its name, or ``auto``.

    """
    problems: Problems = []
    found = each_once(arguments, problems)
    if not found:
        list_problems(problems)
        stop("no image found")
    if len(found) > MOST:
        stop(
            f"IMAGES: expected at most {MOST}, got {len(found):,}: for more, use refine with "
            "each method, and report"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"--out: cannot create the folder {out}: {error.strerror or error}")
    check_names(out, RECORDS, FILES)
    first = load_localizer(model, None, methods[-1], layers, device)
    several: dict[str, Localizer] | None = None
    cells, records = [], []
    with quiet(), termination_as_interrupt(), progress_bar("comparing", len(found)) as advance:
        for path, name in found:
            try:
                image = read_image(path)
                if several is None:
                    several = localizers(first, path, threshold, methods)
                    try_methods(several, image)  # so that times are comparable
                row, record = compare_photograph(several, image, name)
            except UnreadableImage as error:
                problems.append((str(path), error.reason))
            except OSError as error:
                problems.append((str(path), (error.strerror or str(error)).lower()))
            except Exception as error:  # the model may be the user's code
                stop(f"{first.name}: {own_error(error)}", 1)
            else:
                cells.append(row)
                records += record
            advance(1)
    if several is None or not cells:
        list_problems(problems)
        stop("no image could be read", 1)
    _write(out, several, cells, records)
    print_summary(records)
    console = output_console(soft_wrap=True)
    console.print(Text.assemble("Picture: ", printable(out / SHEET, console)))
    list_problems(problems)
    if problems:
        raise typer.Exit(1)


def _write(
    out: Path,
    methods: dict[str, Localizer],
    cells: Sequence[Sequence[Any]],
    records: Sequence[dict[str, Any]],
) -> None:
    titles = ("photograph", *(f"{n} (> {one.threshold:g})" for n, one in methods.items()))
    captions = [
        f"{printable(r['class']).plain}, {r['score']:.0%} ({printable(r['image']).plain})"
        for r in records[:: len(methods)]
    ]
    info = {
        "boxes": "x0 y0 x1 y1 in pixels, half-open",
        "model": methods["cam"].name,
        "device": str(methods["cam"].device),
        "thresholds": {name: one.threshold for name, one in methods.items()},
        "rows": records,
        "files": FILES,
    }
    try:
        with writing(out, RECORDS, FILES):
            with replacing(out / SHEET) as temporary:
                contact_sheet(cells, titles, temporary, captions=captions)
            with replacing(out / TABLE) as temporary:
                write_markdown(temporary, records)
            with replacing(out / ROWS) as temporary:
                write_csv(temporary, records)
            with replacing(out / RECORDS) as temporary:
                write_json(temporary, info)
    except FolderInUse:
        stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}", 1)
