"""The results of a run, as the report needs them: of ``refine``, or of ``label``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]


class StoredMap(NamedTuple):
    """A map as it is stored: ``load()`` returns its 8-bit levels ``(height, width)``.

    Raises:
        OSError: ``load()`` cannot read it.

    """

    load: Callable[[], Levels]


class Found(NamedTuple):
    """What a run has found of one class in one image.

    Attributes:
        label: index of the class; None: unknown, because it has no box and is the only one.
        name: name of the class.
        score: its probability; None: unknown.
        boxes: of its objects, half-open ``x0 y0 x1 y1``; none where the mask is empty.
        area: pixels of its mask.
        map: its map; None: it was not stored.

    """

    label: int | None
    name: str
    score: float | None
    boxes: list[Box]
    area: int
    map: StoredMap | None

    @property
    def box(self) -> Box | None:
        """The box around all objects."""
        if not self.boxes:
            return None
        x0, y0, x1, y1 = zip(*self.boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)


class Image(NamedTuple):
    """An image of a run: its name, where it is (None: unknown), (width, height), its classes."""

    name: str
    path: Path | None
    size: tuple[int, int]
    found: list[Found]

    @property
    def key(self) -> str:
        """What is the same in all runs of this image."""
        return self.name if self.path is None else str(self.path)


class Run(NamedTuple):
    """A folder of results.

    Attributes:
        name: what it is called in the report.
        method: name of the method or the recipe.
        threshold: that of its masks.
        parts: what one object is.
        images: in the order of their names.

    """

    name: str
    method: str
    threshold: float
    parts: str
    images: list[Image]


def short_name(name: str) -> str:
    """Return the first of the names of a class.

    Example:
        >>> short_name("tabby, tabby cat")
        'tabby'

    """
    return name.split(",")[0]
