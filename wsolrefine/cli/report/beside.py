"""A report as a folder: the page, and pictures and maps beside it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from wsolrefine._files import read_json
from wsolrefine.cli.files import remove_temporary, replacing
from wsolrefine.cli.journal import writing
from wsolrefine.cli.report.agreement import Entry
from wsolrefine.cli.report.gather import Gathered, Keep
from wsolrefine.cli.report.page import asset_bytes, asset_file
from wsolrefine.data._lines import stays_below

PAGE, INDEX = "index.html", "report.json"

Fill = Callable[[Keep], tuple[Gathered, bytes]]
"""Passes all assets on; returns what was read, and the end of the page."""


def asset_names(images: int, entries: Sequence[Entry]) -> list[str]:
    """Return the names of all pictures and maps that a report may have."""
    pictures = [f"picture-{number}" for number in range(images)]
    maps = [f"map-{number}-{run}" for number, entry in enumerate(entries) for run in entry.found]
    return pictures + maps


def write_folder(out: Path, names: Sequence[str], first: bytes, fill: Fill) -> Gathered:
    """Write a report as a folder; files of an earlier report are replaced or removed.

    Args:
        out: the folder.
        names: see :func:`asset_names`.
        first: the page up to the assets.
        fill: see :data:`Fill`.

    Raises:
        FolderInUse: another run is writing to the folder.
        OSError: it cannot be written to.

    """
    out.mkdir(parents=True, exist_ok=True)
    possible, written = [PAGE, INDEX, *map(asset_file, names)], {PAGE, INDEX}
    earlier = _listed(out / INDEX)
    with writing(out, INDEX, possible):
        remove_temporary(out / "pictures", out / "maps")

        def keep(name: str, content: bytes) -> None:
            file = asset_file(name)
            written.add(file)
            with replacing(out / file) as temporary:
                temporary.write_bytes(asset_bytes(name, content))

        done, last = fill(keep)
        with replacing(out / PAGE) as temporary:
            temporary.write_bytes(first + last)
        with replacing(out / INDEX) as temporary:
            temporary.write_text(json.dumps({"files": sorted(written)}, indent=0), "ascii")
        for file in earlier - written:
            with contextlib.suppress(OSError):
                (out / file).unlink(missing_ok=True)
    return done


def _listed(index: Path) -> set[str]:
    """Return the files of an earlier report; none if there is no report."""
    try:
        files = read_json(index)["files"]
        ours = isinstance(files, list) and {PAGE, INDEX} <= set(files)
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {file for file in files if _is_asset(file)} if ours else set()


def _is_asset(file: str) -> bool:
    return file.startswith(("pictures/", "maps/")) and stays_below(file)
