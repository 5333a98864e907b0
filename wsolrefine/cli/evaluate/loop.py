"""One pass of ``evaluate`` over a split: read, make maps, count, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from wsolrefine.cli.console import plain
from wsolrefine.cli.evaluate.counts import Counts, Masks, Rule, count_image
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.score_maps import Seen, Source
from wsolrefine.cli.images import quiet
from wsolrefine.cli.refine.walk import Problems

MAX_PROBLEMS = 20
"""So many unusable images are named before the search for more is given up."""


class Unusable(Exception):  # noqa: N818 - it is the images that are at fault
    """Some images of a split could not be counted, so its figures would be those of others."""

    def __init__(self, problems: Problems, complete: bool) -> None:
        super().__init__(f"{len(problems)} unusable")
        self.problems, self.complete = problems, complete


def count_split(
    split: Split, source: Source, rule: Rule, batch_size: int
) -> tuple[Counts, set[tuple[int, int]]]:
    """Count every image of a split, with a progress bar on standard error.

    Returns the counts and the sizes (height, width) of the score maps.

    After the first unusable image nothing more is counted, only read: leaving images out would
    raise the figures, so there will be none, and all that is worth knowing is which.

    Raises:
        Unusable: an image, map or mask cannot be used; those found are named.

    """
    counts, problems = Counts(), Problems()
    sizes: set[tuple[int, int]] = set()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with (
        # One thread of torch in each of ours: else each starts as many as there are cores.
        ThreadPoolExecutor(
            min(4, os.cpu_count() or 1), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool,
        quiet(),
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        task = progress.add_task(f"evaluating {plain(split.name, console)}", total=split.count)
        for batch in _read(split, source, pool, batch_size):
            loaded = {i: found for i, found in batch.items() if isinstance(found, Tensor)}
            problems += [(split.image_id(i), str(e)) for i, e in batch.items() if i not in loaded]
            if not problems:
                seen = source.see([split.label(i) for i in loaded], list(loaded.values()))
                sizes.update((one.map.shape[0], one.map.shape[1]) for one in seen)
                for i, found in zip(
                    loaded, pool.map(partial(_count, split, rule), loaded, seen), strict=True
                ):
                    if isinstance(found, Counts):
                        counts.add(found)
                    else:
                        problems.append((split.image_id(i), str(found)))
            progress.advance(task, len(batch))
            if len(problems) >= MAX_PROBLEMS:
                raise Unusable(problems[:MAX_PROBLEMS], complete=False)
    if problems:
        raise Unusable(problems, complete=True)
    return counts, sizes


def _read(
    split: Split, source: Source, pool: ThreadPoolExecutor, batch_size: int
) -> Iterator[dict[int, Tensor | Exception]]:
    """Yield batches of what was read, by index, while the next one is being read."""
    read = partial(attempt, partial(source.load, split))
    ahead: dict[int, Future[Tensor | Exception]] = {}
    for start in range(0, split.count, batch_size):
        indices = range(start, min(start + batch_size, split.count))
        started = {i: pool.submit(read, i) for i in indices}
        if ahead:
            yield {i: future.result() for i, future in ahead.items()}
        ahead = started
    yield {i: future.result() for i, future in ahead.items()}


def attempt(action: Callable[[Any], Tensor], index: Any) -> Tensor | Exception:
    """Do something for one image, and return its error in place of raising it."""
    try:
        return action(index)
    except Exception as error:  # decoders and preprocessing raise whatever they like
        return _said(error)


def _count(split: Split, rule: Rule, index: int, seen: Seen) -> Counts | Exception:
    try:
        reader = split.reader
        truth = reader.annotations[index]
        if len(truth.boxes) and truth.size is None:  # from the image, which need not be there else
            truth = truth._replace(size=reader.size(index))
        masks = None
        if reader.has_mask(index):
            masks = Masks(reader.mask(index), reader.mask(index, seen.map.shape))
        return count_image(seen, truth, masks, rule)
    except (OSError, ValueError) as error:
        return _said(error)


def _said(error: Exception) -> Exception:
    """Give an error without text the name of its kind."""
    return error if str(error) else ValueError(type(error).__name__)
