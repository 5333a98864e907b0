"""The loop of ``refine``: batch by batch, so that an interruption loses nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import typer

from wsolrefine import Localizer
from wsolrefine.cli.console import Problems, list_problems, progress_bar, stop
from wsolrefine.cli.files import (
    FolderInUse,
    lock_folder,
    termination_as_interrupt,
    uninterrupted,
)
from wsolrefine.cli.hashes import localizer_hash
from wsolrefine.cli.images import quiet
from wsolrefine.cli.journal import Journal
from wsolrefine.cli.options import check_out
from wsolrefine.cli.refine.batch import Failed, Finished, Loaded, Plan, finish, load
from wsolrefine.cli.refine.classes import parse_classes
from wsolrefine.cli.refine.coco import RESULTS, Results
from wsolrefine.cli.refine.earlier import (
    check_foreign,
    earlier_results,
    model_change,
    put_aside,
    version,
)
from wsolrefine.cli.refine.inputs import Found, find_images
from wsolrefine.cli.refine.journal import remove_unlisted
from wsolrefine.cli.refine.summary import summarize

SAVE_EVERY = 30.0
"""Seconds between writes of the results file: a killed run loses at most this much."""


def run(
    arguments: Sequence[str],
    folder: Path,
    settings: dict[str, Any],
    *,
    batch_size: int,
    overwrite: bool,
    load: Callable[[], Localizer],
) -> None:
    """Refine every image that is not done yet, and list at the end what could not be used.

    Args:
        arguments: files, folders and globs.
        folder: folder of the results.
        settings: what determines the results; an earlier run in the folder must have the same.
        batch_size: images per forward pass of the model.
        overwrite: recompute existing results.
        load: returns the localizer; called only if there is something to do.

    """
    check_out(folder)
    out = Path(os.path.realpath(folder))  # so that a link to the folder of results may be used
    before = version(out)
    results, outdated, damaged = earlier_results(out, settings, overwrite)
    own = results.files() | (outdated.files() if outdated else set())
    inputs = find_images(arguments, out, results.sources(), own)
    problems = list(inputs.problems)
    if not inputs.images:
        list_problems(problems)
        stop("no image found" + (" outside the result folders" if inputs.results else ""))
    todo = [f for f in inputs.images if overwrite or not results.is_done(f.name, f.path)]
    finished: list[str] = []
    code = 0
    if todo:
        localizer = load()
        names, number = localizer.class_names, localizer.num_classes or 0
        try:
            plan = Plan(localizer, parse_classes(settings["classes"], names, number), out)
        except ValueError as error:
            stop(f"--{error}")
        categories = dict(enumerate(names or (f"class {i}" for i in range(number))))
        hashed = localizer_hash(localizer)
        if changed := model_change(results, categories, hashed):
            if not overwrite:
                stop(changed)
            results, outdated = Results(out, settings), results
        results.categories, results.model = categories, hashed
        try:
            out.mkdir(parents=True, exist_ok=True)
            with lock_folder(out), termination_as_interrupt(), quiet():
                if version(out) != before:
                    raise FolderInUse
                journal = _settled(out, own)
                check_foreign(out, todo, own)
                if damaged:
                    put_aside(out / RESULTS)
                if outdated:
                    journal.add(outdated.images)
                results.write()  # now, to find out whether the folder is writable
                if outdated:
                    outdated.delete_all()
                batches = batches_of(inputs.images, todo, batch_size)
                pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
                try:
                    _work(plan, batches, results, journal, problems, finished, pool)
                except KeyboardInterrupt:
                    code = 130
                except (RuntimeError, TypeError, ValueError) as error:
                    problems.append((plan.localizer.title, str(error)))
                finally:
                    with uninterrupted():  # else the journal stays for the next run
                        pool.shutdown(cancel_futures=True)
                        _save(results, journal)
        except FolderInUse:
            stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)
        except OSError as error:
            problems.append((str(out), f"cannot write to it ({error.strerror or error})"))
    else:
        _clean(out, own, before, problems)
    skipped = len(inputs.images) - len(todo)
    empty = 0
    if finished and plan.localizer.regions:  # edges never have boxes
        empty = sum(not results.images[name]["annotations"] for name in finished)
    left = len(todo) - len(finished) if code == 130 else 0
    summarize(len(finished), skipped, empty, inputs.repeated, left, out / RESULTS)
    list_problems(problems)
    if code or problems:
        raise typer.Exit(code or 1)


def batches_of(images: Sequence[Found], todo: Iterable[Found], size: int) -> list[list[Found]]:
    """Split the images to do at the places where a run of all images would split them.

    So a run that goes on after an interruption has batches of the same size as one that was not
    interrupted, and the same results: rounding depends on the size of the batch.

    Example:
        >>> images = [Found(Path(name), name) for name in "abcde"]
        >>> [[found.name for found in batch] for batch in batches_of(images, images[1:], 2)]
        [['b'], ['c', 'd'], ['e']]

    """
    names = {found.name for found in todo}
    batches = (images[start : start + size] for start in range(0, len(images), size))
    left = ([found for found in batch if found.name in names] for batch in batches)
    return [batch for batch in left if batch]


def _settled(out: Path, own: set[str]) -> Journal:
    """Remove what a killed run has left; return the journal, which is empty then."""
    journal = Journal(out, RESULTS)
    remove_unlisted(journal, own)
    journal.clear()
    return journal


def _clean(out: Path, own: set[str], before: tuple[int, int] | None, problems: Problems) -> None:
    """Remove what a run has left that was killed when all images were done."""
    if before is None:
        return
    try:
        with contextlib.suppress(FolderInUse), lock_folder(out):  # in use: left to the other run
            if version(out) == before:
                _settled(out, own)
    except OSError as error:
        problems.append((str(out), f"cannot write to it ({error.strerror or error})"))


def _work(
    plan: Plan,
    batches: list[list[Found]],
    results: Results,
    journal: Journal,
    problems: Problems,
    finished: list[str],
    pool: Executor,
) -> None:
    saved = time.monotonic()
    with progress_bar("refining", sum(map(len, batches))) as advance:
        for batch in batches:
            loads = list(pool.map(partial(load, plan), batch))
            good = [loaded for loaded in loads if isinstance(loaded, Loaded)]
            failed = [failure for failure in loads if isinstance(failure, Failed)]
            journal.add(loaded.found.name for loaded in good)
            # The whole batch or nothing of it, so that the next run has the same batches.
            for outcome in [*failed, *(finish(plan, good, pool) if good else ())]:
                name = outcome.found.name
                if isinstance(outcome, Finished):
                    results.add(name, *outcome[1:])
                    finished.append(name)
                else:
                    problems.append((str(outcome.found.path), outcome.reason))
                    if name in results.images:  # of an earlier version of the file
                        results.delete(name)
            advance(len(batch))
            if time.monotonic() - saved > SAVE_EVERY:
                _save(results, journal)
                saved = time.monotonic()


def _save(results: Results, journal: Journal) -> None:
    """Write the results file; the journal ends once no result is there that the file does not list.

    An image that has changed may have other classes now, and so results of other names than before.
    """
    remove_unlisted(journal, results.files())  # first: the disk may be full
    results.write()
    journal.clear()
