"""``wsolrefine threshold``: masks and boxes of stored labels at another threshold."""

from __future__ import annotations

import os
from concurrent.futures import BrokenExecutor
from typing import Annotated

import typer

from wsolrefine.cli.console import progress_bar, stop
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.label.folder import (
    claim,
    fail,
    locked,
    open_labels,
    open_store,
    print_totals,
)
from wsolrefine.cli.label.options import parse_address, require_scale
from wsolrefine.cli.loading import require_training
from wsolrefine.localization.masks import Parts, check_parts, check_threshold
from wsolrefine.scale.record import Record, missing
from wsolrefine.scale.store import Store
from wsolrefine.scale.thresholds import convert


def threshold(
    labels: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder or address of labels with maps.",
            parser=parse_address,
            show_default=False,
        ),
    ],
    value: Annotated[
        float,
        typer.Option(
            "--threshold", "-t", help="Map value in [0, 1) above which a pixel is object."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            parser=parse_address,
            metavar="FOLDER",
            help="Folder or address for the results. Default: DIR-threshold-T.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="largest|all",
            help="Mask and box of the largest component, or of all components together. Default: "
            "as in DIR.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes. Default: one for each core.", show_default=False),
    ] = None,
) -> None:
    """Write masks and boxes at another threshold, from the maps that label has stored.

    [bold]Examples[/bold]

        wsolrefine threshold labels --threshold 0.3

    A run that was killed goes on where it was; a finished one does nothing.
    """
    require_scale("threshold")
    try:
        check_threshold(value)
    except ValueError as error:
        stop(f"--{error}")
    if parts not in (None, "largest", "all"):
        stop(f"--parts: expected largest or all, got {parts!r}")
    target = open_store(f"{labels.rstrip('/')}-threshold-{value:g}" if out is None else out)
    try:
        source, record = open_labels(labels)
        _check_source(source, record)
        if source.path() == target.path():
            stop(f"--out: expected another folder than DIR, got {target.path()}")
        chosen: Parts = record.settings["parts"] if parts is None else check_parts(parts)
        settings = record.settings | {"threshold": value, "parts": chosen}
        with locked(target), termination_as_interrupt():
            claim(target, record._replace(settings=settings))
            numbers = missing(target, record)
            count = min(workers or os.cpu_count() or 1, max(1, len(numbers)))
            with progress_bar("thresholding", len(numbers)) as advance:
                for _ in convert(source, target, numbers, value, chosen, count):
                    advance(1)
            print_totals(target)
    except BrokenExecutor:
        stop("a process ended before its work was done: run the same command again", 1)
    except (OSError, ValueError) as error:
        fail(error)


def _check_source(source: Store, record: Record) -> None:
    """Stop unless labels are finished, and have maps of objects."""
    where, recipe = source.path(), record.settings.get("recipe")
    if recipe is not None:
        require_training(recipe)
        from wsolrefine.recipes.checkpoint import recipe_class

        if not recipe_class(recipe).regions:
            stop(f"DIR: expected labels with masks, got {where}, the edges of {recipe}")
    if not record.settings["maps"]:
        stop(f"DIR: expected labels with maps, got {where}, which were made with --no-maps")
    if left := missing(source, record):
        stop(f"DIR: expected finished labels, got {where} without {len(left)} of its parts")
