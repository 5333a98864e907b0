"""What workers do first: read the images of a task, decode and preprocess them, batch by batch."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from wsolrefine.data import UnreadableImage
from wsolrefine.data.images import reading_reduced
from wsolrefine.localization.inputs import pixels_needed, preprocessed
from wsolrefine.scale.containers import Content, read_row_group, read_tar
from wsolrefine.scale.items import Item, Task
from wsolrefine.scale.places import Place

if TYPE_CHECKING:
    from PIL.Image import Image

CONTAINERS = {"tar": read_tar, "parquet": read_row_group}


@dataclass
class Picture:
    """An image on its way to a row: what is known of it so far.

    Attributes:
        item: what the source says of it.
        size: (width, height); None: it was not read.
        pixels: ``(3, H, W)``, until the model has seen them.
        labels: the classes that its maps are of.
        categories: the source's numbers of these classes; None: it has none.
        scores: their probabilities.
        maps: ``(K, h, w)`` in [0, 1].
        error: why there is nothing else; None: there is.

    """

    item: Item
    size: tuple[int, int] | None = None
    pixels: Tensor | None = None
    labels: list[int] | None = None
    categories: tuple[int | None, ...] | None = None
    scores: list[float] | None = None
    maps: Tensor | None = None
    error: str | None = None


@dataclass
class Batch:
    """Images that the model sees at once.

    Attributes:
        part: number of the part of the results.
        number: number of the batch in the part, from 0.
        batches: how many batches the part has; None: the one with its last images knows.
        pictures: the images.

    """

    part: int
    number: int
    batches: int | None
    pictures: list[Picture]


def read_task(
    task: Task, kind: str, preprocess: Callable[[Image], Tensor] | None, size: int
) -> Iterator[Batch]:
    """Yield the images of a task, read and preprocessed.

    Args:
        task: what to read.
        kind: what the items are, see :class:`wsolrefine.scale.plan.Facts`.
        preprocess: see :class:`wsolrefine.Localizer`.
        size: images in a batch.

    """
    contents: Iterable[Content | Item] = task.items
    if kind in CONTAINERS:
        contents = itertools.chain.from_iterable(map(CONTAINERS[kind], task.items))
    waiting = iter(contents)
    number, some = task.first, list(itertools.islice(waiting, size))
    while some or number == task.first:
        following = list(itertools.islice(waiting, size))
        batches = task.batches
        if batches is None and not following:  # an empty container is one empty batch
            batches = number + 1
        yield Batch(task.part, number, batches, [read(content, preprocess) for content in some])
        number, some = number + 1, following


def read(content: Content | Item, preprocess: Callable[[Image], Tensor] | None) -> Picture:
    """Return an image, or why it cannot be read: no image stops a run."""
    item = content.item if isinstance(content, Content) else content
    if isinstance(content, Content) and content.error is not None:
        return Picture(item, error=content.error)
    try:
        with contextlib.ExitStack() as files:
            if isinstance(content, Content):
                path = files.enter_context(_as_file(content.content))
            elif (place := Place.of(item.path)).is_local:
                path = Path(item.path)
            else:
                path = files.enter_context(_as_file(place.files.cat_file(place.path)))
            with reading_reduced(path, pixels_needed(preprocess)) as (image, size):
                return Picture(item, size, preprocessed(image, preprocess))
    except UnreadableImage as error:
        return Picture(item, error=error.reason)
    except FileNotFoundError:
        return Picture(item, error="no such file or folder")
    except OSError as error:
        return Picture(item, error=(error.strerror or str(error)).lower())
    except Exception as error:  # preprocessing may be the user's code, and so may be a file system
        return Picture(item, error=f"reading failed ({error or type(error).__name__})")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """Yield a file with a content: images are read from files only, and in one way only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield Path(file.name)
