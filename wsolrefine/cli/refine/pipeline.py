"""The batches of ``refine``, one after the other, so that an interruption loses little.

While the model computes, threads read the batches after and write the results of those before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

from wsolrefine.cli.console import Problems, progress_bar
from wsolrefine.cli.files import uninterrupted
from wsolrefine.cli.journal import Journal
from wsolrefine.cli.refine.batch import Finished, finish
from wsolrefine.cli.refine.coco import Results
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.reading import Failed, Loaded, Plan, load

AHEAD = 8
"""Images that are read ahead, in whole batches: enough for all threads, and few for the memory."""

BEHIND = 8
"""Images whose results are being written while the next batch begins, in whole batches."""


def batches_of(images: Sequence[Found], todo: Iterable[Found], size: int) -> list[list[Found]]:
    """Split the images to do at the places where a run of all images would split them.

    So a run that goes on after an interruption has batches of the same size as one that was not
    interrupted, and the same results: rounding depends on the size of the batch.

    Example:
        >>> from pathlib import Path
        >>> images = [Found(Path(name), name, name) for name in "abcde"]
        >>> [[found.name for found in batch] for batch in batches_of(images, images[1:], 2)]
        [['b'], ['c', 'd'], ['e']]

    """
    names = {found.name for found in todo}
    batches = (images[start : start + size] for start in range(0, len(images), size))
    left = ([found for found in batch if found.name in names] for batch in batches)
    return [batch for batch in left if batch]


class Done:
    """How many images are done, and how many of them have no mask."""

    images = empty = 0


def process(
    plan: Plan,
    batches: list[list[Found]],
    results: Results,
    journal: Journal,
    problems: Problems,
    done: Done,
    pool: Executor,
) -> None:
    """Process batches.

    Of each batch, all images are listed or none, so that the next run has the same batches.

    Args:
        plan: what to do with each image.
        batches: the images.
        results: what is finished is added to them.
        journal: gets the names of what is being written.
        problems: gets what could not be used.
        done: counts what is finished.
        pool: reads and writes.

    """
    behind: deque[_Batch] = deque()
    with progress_bar("refining", sum(map(len, batches))) as advance:

        def settle() -> None:
            """Wait for the results of the first batch, and list them."""
            outcomes = [*behind[0].failed, *(future.result() for future in behind[0].outcomes)]
            behind.popleft()
            _list(outcomes, results, problems, done)
            advance(len(outcomes))

        try:
            for loads in _read(plan, batches, pool):
                good = [loaded for loaded in loads if isinstance(loaded, Loaded)]
                failed = [failure for failure in loads if isinstance(failure, Failed)]
                journal.add(loaded.found.base for loaded in good)
                behind.append(_Batch(failed, finish(plan, good, pool) if good else []))
                while sum(batch.size for batch in behind) - behind[0].size >= BEHIND:
                    settle()
            while behind:
                settle()
        except (KeyboardInterrupt, RuntimeError, TypeError, ValueError):
            with uninterrupted():  # what was computed before is written
                while behind:
                    settle()
            raise


class _Batch(NamedTuple):
    """A batch whose results are being written."""

    failed: list[Failed]
    outcomes: list[Future[Finished | Failed]]

    @property
    def size(self) -> int:
        return len(self.failed) + len(self.outcomes)


def _read(
    plan: Plan, batches: Iterable[list[Found]], pool: Executor
) -> Iterator[list[Loaded | Failed]]:
    """Yield the images of each batch, while those of the next ones are read."""
    ahead: deque[list[Future[Loaded | Failed]]] = deque()
    for batch in batches:
        ahead.append([pool.submit(load, plan, found) for found in batch])
        if sum(map(len, ahead)) - len(ahead[0]) >= AHEAD:
            yield [future.result() for future in ahead.popleft()]
    while ahead:
        yield [future.result() for future in ahead.popleft()]


def _list(
    outcomes: Sequence[Finished | Failed], results: Results, problems: Problems, done: Done
) -> None:
    """Add what was done to the results, and what was not to the problems."""
    finished = [outcome for outcome in outcomes if isinstance(outcome, Finished)]
    results.add([outcome.record for outcome in finished])
    done.images += len(finished)
    done.empty += sum(not outcome.record["annotations"] for outcome in finished)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            problems.append((str(outcome.found.path), outcome.reason))
            if outcome.found.name in results.images:  # of an earlier version of the file
                results.delete(outcome.found.name)
