"""The same image and class in several runs, and how much their boxes agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch

from wsolrefine import box_iou
from wsolrefine.cli.report.runs import Box, Found, Image, Run


class Entry(NamedTuple):
    """One class of one image.

    Attributes:
        image: number of the image.
        found: number of the run to what it has found.
        agreement: mean IoU of the boxes of all pairs of runs; None if there is none.

    """

    image: int
    found: dict[int, Found]
    agreement: float | None


def merged(runs: Sequence[Run]) -> tuple[list[Image], list[Entry]]:
    """Return the images of all runs, and their classes.

    Images are the same if their files are. Where every run has one class at most, these belong
    together; else classes of the same name do.
    """
    of_key: dict[str, list[tuple[int, Image]]] = {}
    for number, run in enumerate(runs):
        for image in run.images:
            of_key.setdefault(image.key, []).append((number, image))
    images: list[Image] = []
    entries: list[Entry] = []
    for several in of_key.values():
        single = all(len(image.found) <= 1 for _, image in several)
        classes: dict[str | None, dict[int, Found]] = {}
        for number, image in several:
            for found in image.found:
                key = None if single else f"{found.label} {found.name}"
                classes.setdefault(key, {})[number] = found
        for one in classes.values():
            boxes = [found.box for found in one.values()]
            entries.append(Entry(len(images), one, mean_iou(boxes)))
        images.append(several[0][1])
    return images, entries


def mean_iou(boxes: Sequence[Box | None]) -> float | None:
    """Return the mean IoU of all pairs of boxes; that with a missing one is 0.

    Two missing ones are no pair. None if there is no pair.

    Example:
        >>> mean_iou([(0, 0, 2, 2), (0, 0, 2, 1), None])
        0.16666666666666666

    """
    pairs = [pair for pair in combinations(boxes, 2) if pair != (None, None)]
    if not pairs:
        return None
    values = [
        0.0 if first is None or second is None else _iou(first, second) for first, second in pairs
    ]
    return sum(values) / len(values)


def _iou(first: Box, second: Box) -> float:
    one, other = (torch.tensor([box], dtype=torch.float64) for box in (first, second))
    return float(box_iou(one, other))
