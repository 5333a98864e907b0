"""Boxes of several objects in one map, matched with the true ones one to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from benchmarks.common import table
from wsolrefine import box_iou, instance_labels, largest_box, union_box

IOU = 0.5
THRESHOLDS = tuple(step / 100 for step in range(15, 70, 5))
PROMINENCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
DRAWS = 1000
BASELINE = "each component"

Counts = npt.NDArray[np.int64]
"""Of each image the numbers of matched, found and true boxes, ``(N, 3)``."""


class Photograph(NamedTuple):
    """The map of a class, ``(1, H, W)``, and the true boxes in its pixels."""

    map: Tensor
    boxes: Tensor


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


def count(boxes: Callable[[Tensor], Tensor], photographs: Sequence[Photograph]) -> Counts:
    """Match the boxes of each map with the true ones, one to one, as many as possible."""
    counts = []
    for map, true in photographs:
        found = boxes(map)
        fits = csr_array((box_iou(found, true) >= IOU).numpy())
        matched = maximum_bipartite_matching(fits, perm_type="column") if len(found) else ()
        counts.append((sum(mate >= 0 for mate in matched), len(found), len(true)))
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def scores(counts: Counts) -> tuple[float, float, float]:
    """Return recall, precision and F1 of all images together, in percent."""
    matched, found, true = counts.sum(-2).T
    return (
        100 * matched / np.maximum(true, 1),
        100 * matched / np.maximum(found, 1),
        200 * matched / np.maximum(found + true, 1),
    )


def errors(counts: Counts, baseline: Counts) -> tuple[float, float]:
    """Return the standard errors of F1 and of its difference to a baseline, over images."""
    drawn = np.random.default_rng(0).integers(len(counts), size=(DRAWS, len(counts)))
    own, other = scores(counts[drawn])[2], scores(baseline[drawn])[2]
    return float(np.std(own)), float(np.std(own - other))


def choose(row: str, photographs: Sequence[Photograph]) -> float:
    """Return the threshold of the best F1."""

    def f1(threshold: float) -> float:
        return scores(count(lambda map: ROWS[row](map, threshold), photographs))[2]

    return max(THRESHOLDS, key=f1)


def measure(
    photographs: Sequence[Photograph], thresholds: dict[str, float]
) -> list[dict[str, str | float]]:
    """Return the results of every row."""
    counts = {
        row: count(lambda map, row=row, at=at: ROWS[row](map, at), photographs)  # type: ignore[misc]
        for row, at in thresholds.items()
    }
    results: list[dict[str, str | float]] = []
    for row, of_row in counts.items():
        names = ("recall", "precision", "F1")
        values = dict(zip(names, map(float, scores(of_row)), strict=True))
        error, of_difference = errors(of_row, counts[BASELINE])
        difference = float(scores(of_row)[2] - scores(counts[BASELINE])[2])
        results.append(
            {
                "row": row,
                "threshold": thresholds[row],
                **values,
                "F1 error": error,
                "difference": difference,
                "difference error": of_difference,
            }
        )
    return results


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

            cells.append(f"{scores(count(boxes, photographs))[2]:.1f}")
        lines.append([f"{threshold:.2f}", *cells])
    return table(["threshold", *(f"prominence {value:g}" for value in PROMINENCES)], lines)
