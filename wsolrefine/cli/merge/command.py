"""``wsolrefine merge``: the results of all shards in one folder."""

from __future__ import annotations

from typing import Annotated

import typer

from wsolrefine.cli.console import progress_bar
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.label.folder import (
    claim,
    fail,
    locked,
    open_labels,
    open_store,
    print_totals,
)
from wsolrefine.cli.label.options import Out, parse_address, require_scale
from wsolrefine.scale.merging import check_ids, check_shards, copy_parts


def merge(
    shards: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...",
            help="Folders or addresses of the results of all shards.",
            parser=parse_address,
            show_default=False,
        ),
    ],
    out: Out,
) -> None:
    """Put the results of all shards of one run together; the shards stay as they are.

    [bold]Examples[/bold]

        wsolrefine merge labels/* --out all

    It stops unless every shard is there, is finished, and has images of its own.
    """
    require_scale("merge")
    target = open_store(out)
    try:
        found = check_shards([open_labels(shard) for shard in shards])
        check_ids(found.stores)
        with locked(target), termination_as_interrupt():
            claim(target, found.record)
            with progress_bar("merging", found.record.facts.parts) as advance:
                for _ in copy_parts(found, target):
                    advance(1)
            print_totals(target)
    except (OSError, ValueError) as error:
        fail(error)
