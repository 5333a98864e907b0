"""One pass of ``evaluate`` over a split: read, predict and count, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from wsolrefine.cli.console import Problems, progress_bar
from wsolrefine.cli.evaluate.counts import Counts, Masks, Rule, count_image
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.score_maps import Prediction, Source
from wsolrefine.cli.files import system_error
from wsolrefine.cli.images import quiet
from wsolrefine.cli.threads import threads

MAX_PROBLEMS = 20
"""After this many unusable images, the search for more stops."""

Item = TypeVar("Item")
Counted = TypeVar("Counted")


class Unusable(Exception):  # noqa: N818 - the images are at fault
    """Some images of a split could not be counted, so results would be those of a subset."""

    def __init__(self, problems: Problems, complete: bool) -> None:
        super().__init__(f"{len(problems)} unusable")
        self.problems, self.complete = problems, complete


def count_split(
    split: Split, source: Source, rule: Rule, batch_size: int, workers: int | None = None
) -> tuple[Counts, set[tuple[int, int]]]:
    """Count every image of a split.

    Returns the counts and the sizes (height, width) of the score maps.

    Raises:
        Unusable: an image, map or mask cannot be used; the exception lists those found.

    """
    total = Counts()
    sizes: set[tuple[int, int]] = set()
    count = partial(_count, split, rule)
    for counts, size in each_image(
        split, range(split.count), source.load, source.predict, count, batch_size, workers
    ):
        total.add(counts)
        sizes.add(size)
    return total, sizes


def each_image(
    split: Split,
    indices: Sequence[int],
    load: Callable[[Split, int], Tensor],
    predict: Callable[[list[int], list[Tensor]], Sequence[Item | ValueError]],
    count: Callable[[int, Item], Counted],
    batch_size: int,
    workers: int | None = None,
) -> Iterator[Counted]:
    """Yield the counts of each image, with a progress bar on standard error.

    After the first unusable image, images are only read, not counted: results over a subset would
    be inflated, so none are reported, and only the list of unusable images is of interest.

    Args:
        split: a split of the data set.
        indices: indices of its images.
        load: reads one image, in a thread, while the previous batch is processed.
        predict: labels and loaded images of a batch -> an item for each image, or its error.
        count: counts one image, in a thread.
        batch_size: images processed at once.
        workers: number of threads; None: one for each core, at most 4.

    Raises:
        Unusable: an image, map or mask cannot be used; the exception lists those found.

    """
    problems = Problems()
    with (
        threads(workers) as pool,
        quiet(),
        progress_bar(f"evaluating {split.name}", len(indices)) as advance,
    ):
        for batch in _read(indices, partial(load, split), pool, batch_size):
            loaded = {i: found for i, found in batch.items() if isinstance(found, Tensor)}
            problems += [
                (split.image_id(i), _said(e)) for i, e in batch.items() if isinstance(e, Exception)
            ]
            if not problems:
                items = predict([split.label(i) for i in loaded], list(loaded.values()))
                attempts = pool.map(partial(_attempt, _counted, count), loaded, items)
                for i, found in zip(loaded, attempts, strict=True):
                    if isinstance(found, Exception):
                        problems.append((split.image_id(i), _said(found)))
                    elif not problems:
                        yield found
            split.agreement.check()
            advance(len(batch))
            if len(problems) >= MAX_PROBLEMS:
                raise Unusable(problems[:MAX_PROBLEMS], complete=False)
    if problems:
        raise Unusable(problems, complete=True)
    split.agreement.check_all()


def _read(
    indices: Sequence[int],
    load: Callable[[int], Tensor],
    pool: ThreadPoolExecutor,
    batch_size: int,
) -> Iterator[dict[int, Tensor | Exception]]:
    """Yield batches of loaded images, by index, while the next batch is loaded."""
    ahead: dict[int, Future[Tensor | Exception]] = {}
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        started = {i: pool.submit(_attempt, load, i) for i in batch}
        if ahead:
            yield {i: future.result() for i, future in ahead.items()}
        ahead = started
    yield {i: future.result() for i, future in ahead.items()}


def _counted(count: Callable[[int, Item], Counted], index: int, item: Item | ValueError) -> Counted:
    if isinstance(item, ValueError):
        raise item
    return count(index, item)


def _attempt(action: Callable[..., Counted], *arguments: Any) -> Counted | Exception:
    """Call an action for one image, and return its error instead of raising it."""
    try:
        return action(*arguments)
    except Exception as error:  # decoders and the user's preprocessing may raise anything
        return error


def _said(error: Exception) -> str:
    text = system_error(error) if isinstance(error, OSError) else str(error)
    return text or type(error).__name__


def _count(
    split: Split, rule: Rule, index: int, prediction: Prediction
) -> tuple[Counts, tuple[int, int]]:
    reader = split.reader
    truth = reader.annotations[index]
    if len(truth.boxes) and truth.size is None:  # only then, because the image may be missing
        truth = truth._replace(size=reader.size(index))
    if truth.size is not None:
        split.agreement.see_boxes(index, truth.boxes, truth.size)
    (height, width), masks = prediction.map.shape, None
    size = height, width
    if reader.has_mask(index):
        masks = Masks(reader.mask(index), reader.mask(index, size))
        split.agreement.see_mask(index, masks.stored.shape)
    split.agreement.see_map(index, size, masks.stored.shape if masks else None)
    return count_image(prediction, truth, masks, rule), size
