"""What is in the folder of the results before a run of ``refine``: its own results, and others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wsolrefine.cli.console import stop
from wsolrefine.cli.files import foreign_message
from wsolrefine.cli.journal import Journal
from wsolrefine.cli.refine.coco import RESULTS, Results
from wsolrefine.cli.refine.finished import Finished
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.journal import files_below
from wsolrefine.cli.refine.names import folded
from wsolrefine.cli.refine.outputs import FOLDERS, bases_of
from wsolrefine.cli.refine.stored import BadResults


def put_aside(path: Path) -> None:
    """Rename a file that may be the user's own, so that nothing replaces it."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.{number}")):
        number += 1
    path.rename(aside)


def version(out: Path) -> tuple[int, int] | None:
    """Return what changes whenever the results file is written; None if there is none."""
    try:
        status = (out / RESULTS).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def earlier_results(
    out: Path, settings: dict[str, Any], overwrite: bool
) -> tuple[Results, Results | None, bool]:
    """Return the results to continue, those to delete, and whether a damaged file is in the way."""
    mine = [file for file in (Journal(out, RESULTS), Finished(out, RESULTS)) if not file.is_ours()]
    if mine:
        stop(foreign_message(out, [file.path.name for file in mine]))
    try:
        earlier = Results.read(out)
    except BadResults as error:
        if not overwrite:
            stop(
                f"{error}; choose another --out, or move it elsewhere, together with the folders "
                f"{', '.join(FOLDERS)} in {out} (if they have no results, --overwrite renames it "
                f"to {RESULTS}.1)"
            )
        return Results(out, settings), None, True
    if earlier is None or earlier.settings == settings:
        return earlier or Results(out, settings), None, False
    then, names = earlier.settings.get, dict.fromkeys([*settings, *earlier.settings])
    pairs = {name: (then(name), settings.get(name)) for name in names}
    changes = [f"{k}: {a} then, {b} now" for k, (a, b) in pairs.items() if a != b]
    if earlier.images and not overwrite:
        stop(
            f"--out: expected the settings of the {len(earlier.images)} results in {out}, got "
            f"others ({'; '.join(changes)}); choose another folder, or use --overwrite to delete "
            "these results"
        )
    return Results(out, settings), earlier, False


def model_change(results: Results, categories: dict[int, str], model: str) -> str | None:
    """Return the error if the earlier results are of another model with the same settings, or None.

    A model of the user's own may have been edited, and its file may be in another working folder.

    Args:
        results: the results to continue.
        categories: index of every class of the model that is loaded, to its name.
        model: hash of that model.

    """
    if not results.images or results.model == model:
        return None
    if results.categories != categories:
        what = "names of classes"
    elif results.model is not None:
        what = "weights or preprocessing"
    else:  # of a version that did not write the hash
        return None
    return (
        f"--out: expected the model of the {len(results.images)} results in {results.out}, got "
        f"one with other {what}; restore it, choose another folder, or use --overwrite to delete "
        "these results"
    )


def check_foreign(out: Path, todo: Iterable[Found], own: set[str]) -> None:
    """Stop if a file that is none of the results has the name of one that is to be written."""
    bases = {folded(found.base) for found in todo}
    foreign = [
        file
        for file in files_below(out)
        if file not in own and not bases.isdisjoint(bases_of(folded(file)))
    ]
    if foreign:
        stop(foreign_message(out, sorted(foreign)))
