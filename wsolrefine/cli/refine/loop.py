"""A run of ``refine``: what there is to do, what is in the way, and what is left at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from wsolrefine import Localizer
from wsolrefine._shards import Shard
from wsolrefine.cli.console import Problems, list_problems, stop
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
from wsolrefine.cli.refine.classes import labels_by_name, parse_classes
from wsolrefine.cli.refine.coco import RESULTS, Results, delete_files
from wsolrefine.cli.refine.earlier import (
    check_foreign,
    earlier_results,
    model_change,
    put_aside,
    version,
)
from wsolrefine.cli.refine.inputs import find_images
from wsolrefine.cli.refine.journal import remove_unlisted
from wsolrefine.cli.refine.pipeline import Done, batches_of, process
from wsolrefine.cli.refine.reading import Plan
from wsolrefine.cli.refine.summary import summarize
from wsolrefine.cli.threads import threads


class Options(NamedTuple):
    """How a run goes about its work, which its results do not depend on.

    ``workers`` is the number of threads that read and write; None: one for each core, at most 4.
    ``limit`` is the number of images of the share that are used, from the first; None: all.
    ``labels`` is where the file of image-level labels is, whose hash is in the settings.
    """

    batch_size: int
    overwrite: bool
    workers: int | None = None
    shard: Shard | None = None
    limit: int | None = None
    labels: Path | None = None


def run(
    arguments: Sequence[str],
    folder: Path,
    settings: dict[str, Any],
    options: Options,
    load: Callable[[], Localizer],
) -> None:
    """Refine every image that is not done yet, and list at the end what could not be used.

    Args:
        arguments: files, folders and globs.
        folder: folder of the results.
        settings: what determines the results; an earlier run in the folder must have the same.
        options: how the run goes about it.
        load: returns the localizer; called only if there is something to do.

    """
    check_out(folder)
    out = Path(os.path.realpath(folder))  # so that a link to the folder of results may be used
    try:
        _run(arguments, out, settings, options, load)
    except FolderInUse:
        stop(f"another run is writing to {out}: wait for it, or choose another --out", 1)


def _run(
    arguments: Sequence[str],
    out: Path,
    settings: dict[str, Any],
    options: Options,
    load: Callable[[], Localizer],
) -> None:
    before, overwrite = version(out), options.overwrite
    results, outdated, damaged = earlier_results(out, settings, overwrite)
    own = results.files() | (outdated.files() if outdated else set())
    inputs = find_images(arguments, out, results.sources(), own)
    problems = list(inputs.problems)
    if not inputs.images:
        list_problems(problems)
        stop("no image found" + (" outside the result folders" if inputs.results else ""))
    # The names, and so the shares, are those of all images.
    images = [f for f in inputs.images if options.shard is None or options.shard.has(f.name)]
    images = images[: options.limit]
    todo = [f for f in images if overwrite or not results.is_done(f.name, f.path)]
    done = Done()
    code = 0
    if todo:
        localizer = load()
        names, number = localizer.class_names, localizer.num_classes or 0
        classes = _classes(settings, options, [found.name for found in inputs.images], localizer)
        write, longest = tuple(settings["write"]), settings["overlay_size"]
        plan = Plan(localizer, classes, out, write, longest)
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
                old = outdated.files() if outdated else set()
                if outdated:
                    journal.add(known.base for known in outdated.sources().values() if known.base)
                results.start()
                delete_files(out, old)
                batches = batches_of(images, todo, options.batch_size)
                pool = threads(options.workers)
                try:
                    process(plan, batches, results, journal, problems, done, pool)
                except KeyboardInterrupt:
                    code = 130
                except (RuntimeError, TypeError, ValueError) as error:
                    problems.append((plan.localizer.title, str(error)))
                finally:
                    with uninterrupted():  # else the journal stays for the next run
                        pool.shutdown(cancel_futures=True)
                        _save(results, journal)
        except OSError as error:
            problems.append((str(out), f"cannot write to it ({error.strerror or error})"))
    else:
        _clean(results, own, before, problems)
    empty = done.empty if done.images and plan.localizer.regions else 0  # edges never have boxes
    left = len(todo) - done.images if code == 130 else 0
    skipped = len(images) - len(todo)
    summarize(done.images, skipped, empty, inputs.repeated, left, out / RESULTS)
    list_problems(problems)
    if code or problems:
        raise typer.Exit(code or 1)


def _classes(
    settings: dict[str, Any], options: Options, images: Sequence[str], localizer: Localizer
) -> int | list[int] | dict[str, list[int]]:
    """Return the classes that are mapped, of all images or by the name of each; or stop."""
    names, number = localizer.class_names, localizer.num_classes or 0
    try:
        if options.labels is None:
            return parse_classes(settings["classes"], names, number)
        return labels_by_name(options.labels, images, names, number)
    except ValueError as error:
        stop(f"--{error}")


def _settled(out: Path, own: set[str]) -> Journal:
    """Remove what a killed run has left; return the journal, which is empty then."""
    journal = Journal(out, RESULTS)
    remove_unlisted(journal, own)
    journal.clear()
    return journal


def _clean(
    results: Results, own: set[str], before: tuple[int, int] | None, problems: Problems
) -> None:
    """End what a run has left that was killed when all images were done."""
    out = results.out
    if before is None:
        return
    try:
        with contextlib.suppress(FolderInUse), lock_folder(out):  # in use: left to the other run
            if version(out) == before:
                if results.finished.path.is_file():
                    results.write()
                _settled(out, own)
    except OSError as error:
        problems.append((str(out), f"cannot write to it ({error.strerror or error})"))


def _save(results: Results, journal: Journal) -> None:
    """Write the results file; the journal ends once no result is there that the file does not list.

    An image that has changed may have other classes now, and so results of other names than before.
    """
    remove_unlisted(journal, results.files())  # first: the disk may be full
    results.write()
    journal.clear()
