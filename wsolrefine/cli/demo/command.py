"""``wsolrefine demo``: from a classifier to boxes on six photographs, offline."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from wsolrefine.cli.console import output_console, printable, stop
from wsolrefine.cli.options import check_out, parse_path, threshold_option
from wsolrefine.localization.masks import check_threshold
from wsolrefine.localization.methods import DEFAULT, METHODS

PHOTOGRAPHS = (
    "motorcycle_left.png",
    "coffee.png",
    "chelsea.png",
    "astronaut.png",
    "rocket.jpg",  # hard: the towers resemble one another more than they resemble the rocket
    "hubble_deep_field.jpg",  # hard: no object
)
RECORDS, SHEET = "demo.json", "demo.png"
FILES = (RECORDS, SHEET)


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=parse_path,
            metavar="FOLDER",
            help="Folder for the image and the boxes.",
        ),
    ] = Path("wsolrefine-demo"),
    threshold: Annotated[
        float | None,
        threshold_option(
            "that of each method, "
            + ", ".join(f"{METHODS[name].threshold} ({name})" for name in (DEFAULT, "cam"))
        ),
    ] = None,
) -> None:
    """Try it offline on six photographs, with EfficientNet-Lite0.

    Writes demo.png (a row per photograph: the heatmap of each method, the box
    of the default and of the CAM) and demo.json (class, confidence, boxes,
    milliseconds of each method with the model's). The photographs come
    with scikit-image. Two are hard: next to the rocket there are towers that
    resemble one another more than they resemble the rocket, and the field of
    stars has no object.

    [bold]Example[/bold]

        wsolrefine demo --out demo
    """
    try:
        check_threshold(METHODS[DEFAULT].threshold if threshold is None else threshold)
    except ValueError as error:
        stop(f"--{error}")
    check_out(out)
    paths = _photographs()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"--out: cannot create the folder {out}: {error.strerror or error}")
    from wsolrefine.cli.journal import check_names, writing

    check_names(out, RECORDS, FILES)
    from wsolrefine.cli.demo.photograph import METHODS_SHOWN, localizers, run_methods
    from wsolrefine.cli.files import FolderInUse, replacing
    from wsolrefine.cli.loading import load_localizer
    from wsolrefine.viz import contact_sheet

    console = output_console()
    start = time.perf_counter()
    with console.status("Loading the classifier"):
        first = load_localizer(None, None, None, None, "cpu")
        methods = localizers(first, paths[0], threshold)
        run_methods(methods, paths[0])  # warm-up, so that times are comparable
    with console.status("Refining"):
        refined = [run_methods(methods, path) for path in paths]
    rows, records = zip(*refined, strict=True)
    titles = ("photograph", *METHODS_SHOWN, f"box: {DEFAULT}, dashed cam")
    captions = [f"{r['class']}, {r['confidence']:.0%} ({r['image']})" for r in records]
    try:
        with writing(out, RECORDS, FILES):
            with replacing(out / SHEET) as temporary:
                contact_sheet(rows, titles, temporary, captions=captions)
            with replacing(out / RECORDS) as temporary:
                content = {
                    "boxes": "x0 y0 x1 y1 in pixels, half-open",
                    "thresholds": {name: one.threshold for name, one in methods.items()},
                    "images": records,
                    "files": FILES,
                }
                temporary.write_text(json.dumps(content, indent=1), "utf-8")
    except FolderInUse:
        stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)
    except OSError as error:
        stop(f"cannot write to {out}: {error.strerror or error}", 1)
    _report(console, records)
    console.print(f"Done in {time.perf_counter() - start:.1f} s:", printable(out / SHEET))


def _photographs() -> list[Path]:
    """Return the photographs of the installed scikit-image, which is not imported."""
    spec = find_spec("skimage")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    paths = [Path(folder) / "data" / name for name in PHOTOGRAPHS for folder in folders]
    found = [path for path in paths if path.is_file()]
    if not found:
        stop("the demo needs the photographs of scikit-image: pip install 'wsolrefine[demo]'", 1)
    return found


def _report(console: Console, records: Sequence[dict[str, Any]]) -> None:
    """Print the boxes and the times."""
    table = Table(title="Results")
    table.add_column("photograph", no_wrap=True, min_width=21)
    for title in ("class", "confidence", "box (x0 y0 x1 y1)"):
        table.add_column(title)
    for record in records:
        box = " ".join(f"{value:.0f}" for value in record["box"])
        table.add_row(record["image"], record["class"], f"{record['confidence']:.0%}", box)
    console.print(table)
    caption = "per image, with the model and the box, after a warm-up"
    table = Table("photograph", title="Milliseconds", caption=caption)
    for method in records[0]["milliseconds"]:
        table.add_column(method, justify="right")
    for record in records:
        times = (f"{value:.0f}" for value in record["milliseconds"].values())
        table.add_row(record["image"], *times)
    console.print(table)
