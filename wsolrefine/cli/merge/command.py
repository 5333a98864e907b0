"""``wsolrefine merge``: the results of all shards in one folder."""

from __future__ import annotations

from typing import Annotated

import typer

from wsolrefine.cli.console import progress_bar, stop
from wsolrefine.cli.files import termination_as_interrupt
from wsolrefine.cli.label.folder import fail, locked, open_store, print_totals
from wsolrefine.cli.label.options import parse_address, require_scale
from wsolrefine.scale.merging import check_ids, check_shards, copy_parts
from wsolrefine.scale.record import differences, read_record, write_record


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
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            parser=parse_address,
            metavar="FOLDER",
            help="Folder or address for the results, created if missing.",
        ),
    ],
) -> None:
    """Put the results of all shards of one run together; the shards stay as they are.

    [bold]Examples[/bold]

        wsolrefine merge labels/* --out all

    It stops unless every shard is there, is finished, and has images of its own.
    """
    require_scale("merge")
    target = open_store(out)
    try:
        stores = [open_store(shard) for shard in shards]
        records = []
        for store in stores:
            if (record := read_record(store)) is None:
                stop(
                    f"DIR: expected labels of wsolrefine label, got {store.path()}, which has none"
                )
            records.append(record)
        found = check_shards(stores, records)
        check_ids(found.stores)
        with locked(target), termination_as_interrupt():
            there = read_record(target)
            if there is None:
                write_record(target, found.record)
            elif changes := differences(
                there.settings | {"model": there.model},
                found.record.settings | {"model": found.record.model},
            ):
                stop(f"--out: expected the labels that are there, got others ({changes})")
            with progress_bar("merging", found.record.facts.parts) as advance:
                for _ in copy_parts(found, target):
                    advance(1)
            print_totals(target)
    except (OSError, ValueError) as error:
        fail(error)
