"""Boxes of several objects in one map, matched with the true ones one to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from benchmarks.common import table
from benchmarks.quality import bootstrap
from wsolrefine import box_iou, instance_labels, largest_box, union_box

IOU = 0.5
THRESHOLDS = tuple(step / 100 for step in range(15, 70, 5))
PROMINENCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
BASELINE = "each component"


class Photograph(NamedTuple):
    """The map of a class, and what is true of it."""

    map: Tensor  # (1, SIDE, SIDE)
    boxes: Tensor  # in pixels of the map
    source: int = 0  # the number of the set that it is from


def _solid(boxes: Tensor) -> Tensor:
    """Return boxes without those of empty masks."""
    return boxes[boxes[:, 2] > 0]


def _labeled(labels: Tensor) -> Tensor:
    """Return a box for each label of ``(1, H, W)``."""
    numbers = torch.arange(1, int(labels.max()) + 1)
    return union_box(labels == numbers[:, None, None])


def _largest_instance(map: Tensor, threshold: float) -> Tensor:
    labels = instance_labels(map, threshold=threshold)
    counts = labels.flatten().bincount()[1:]
    return _labeled(labels)[counts.argmax()][None] if len(counts) else torch.zeros(0, 4)


ROWS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "largest component": lambda map, threshold: _solid(largest_box(map > threshold)),
    "largest instance": _largest_instance,
    "all components, one box": lambda map, threshold: _solid(union_box(map > threshold)),
    # No peak stands out by more than the whole range. Components of one pixel are left out too.
    BASELINE: lambda map, threshold: _labeled(
        instance_labels(map, threshold=threshold, min_prominence=1)
    ),
    "instances": lambda map, threshold: _labeled(instance_labels(map, threshold=threshold)),
}
"""What is a box: a map and a threshold to boxes ``(n, 4)``."""


def count(boxes: Callable[[Tensor], Tensor], photographs: Sequence[Photograph]) -> Tensor:
    """Match the boxes of each map with the true ones, one to one, as many as possible.

    Returns:
        The numbers of matched, found and true boxes of each photograph, ``(N, 3)``.

    """
    counts = []
    for map, true, _ in photographs:
        found = boxes(map)
        fits = csr_array((box_iou(found, true) >= IOU).numpy())
        matched = maximum_bipartite_matching(fits, perm_type="column") if len(found) else ()
        counts.append((sum(mate >= 0 for mate in matched), len(found), len(true)))
    return torch.tensor(counts, dtype=torch.float64).reshape(-1, 3)


def scores(sums: Tensor) -> Tensor:
    """Return recall, precision and F1 in percent, ``(3, ...)``, of sums of counts ``(..., 3)``."""
    matched, found, true = sums.unbind(-1)
    parts = (matched / true.clamp_min(1), matched / found.clamp_min(1))
    return 100 * torch.stack([*parts, 2 * matched / (found + true).clamp_min(1)])


def choose(row: str, photographs: Sequence[Photograph]) -> float:
    """Return the threshold of the best F1."""

    def f1(threshold: float) -> float:
        return scores(count(lambda map: ROWS[row](map, threshold), photographs).sum(0))[2].item()

    return max(THRESHOLDS, key=f1)


def measure(
    photographs: Sequence[Photograph], thresholds: dict[str, float]
) -> list[dict[str, str | float]]:
    """Return the results of every row."""
    counts = {
        row: count(lambda map, row=row, at=at: ROWS[row](map, at), photographs)  # type: ignore[misc]
        for row, at in thresholds.items()
    }
    each = [str(number) for number in range(len(photographs))]
    weights = bootstrap.draw(each, torch.tensor([one.source for one in photographs]))
    found = {row: scores(of_row.sum(0)) for row, of_row in counts.items()}
    draws = {row: scores(weights @ of_row)[2] for row, of_row in counts.items()}
    return [
        {
            "row": row,
            "threshold": thresholds[row],
            **dict(zip(("recall", "precision", "F1"), values.tolist(), strict=True)),
            "F1 error": bootstrap.error(draws[row]),
            "difference": (values[2] - found[BASELINE][2]).item(),
            "difference error": bootstrap.error(draws[row] - draws[BASELINE]),
        }
        for row, values in found.items()
    ]


def render(results: Sequence[dict[str, Any]]) -> str:
    """Return results as a Markdown table, in percent, with standard errors."""
    head = ("boxes", "threshold", "recall", "precision", "F1", f"F1 to {BASELINE}")
    lines = [
        (
            result["row"],
            f"{result['threshold']:.2f}",
            *(f"{result[name]:.1f}" for name in ("recall", "precision")),
            f"{result['F1']:.1f} ± {result['F1 error']:.1f}",
            f"{result['difference']:+.1f} ± {result['difference error']:.1f}",
        )
        for result in results
    ]
    return table(head, lines)


def search(photographs: Sequence[Photograph]) -> str:
    """Return F1 of the instances by threshold and prominence as a Markdown table."""
    lines = []
    for threshold in THRESHOLDS:
        cells = []
        for prominence in PROMINENCES:

            def boxes(map: Tensor, at: float = threshold, least: float = prominence) -> Tensor:
                return _labeled(instance_labels(map, threshold=at, min_prominence=least))

            cells.append(f"{scores(count(boxes, photographs).sum(0))[2]:.1f}")
        lines.append([f"{threshold:.2f}", *cells])
    return table(["threshold", *(f"prominence {value:g}" for value in PROMINENCES)], lines)
