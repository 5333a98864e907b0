"""Several objects of a class in one image: recall, precision and F1 of boxes at IoU 0.5.

    python -m benchmarks.quality.instances --data wsolevaluation:photographs/test \\
        --choose wsolevaluation:photographs/tune

Each photograph is localized for the class that the network predicts. Found and true boxes are
matched one to one. Images with several true boxes and those with one are measured apart, with the
thresholds that are best on the several boxes of ``--choose``, or else the method's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from benchmarks.common import machine, origin, table, write_json
from wsolrefine import (
    Localizer,
    box_iou,
    instance_labels,
    largest_box,
    load_classifier,
    union_box,
)
from wsolrefine.data import WsolEvaluation
from wsolrefine.localization.methods import DEFAULT, METHODS

SIDE = 224
IOU = 0.5
THRESHOLDS = tuple(step / 100 for step in range(15, 70, 5))
PROMINENCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
DRAWS = 1000
BASELINE = "each component"

Counts = npt.NDArray[np.int64]
"""Of each image the numbers of matched, found and true boxes, ``(N, 3)``."""


class Photograph(NamedTuple):
    """The map of the predicted class, ``(1, SIDE, SIDE)``, and true boxes in its pixels."""

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


def located(method: str, specs: Sequence[str], classifier: Any) -> list[Photograph]:
    """Localize the predicted class in every photograph of the data sets that has a box."""
    localizer = Localizer(classifier, refine=method)
    found = []
    for spec in specs:
        reader, _, folder = spec.partition(":")
        if reader != "wsolevaluation" or not folder:
            raise SystemExit(f"--data: expected wsolevaluation:FOLDER, got {spec}")
        photographs = WsolEvaluation(folder, images=Path(folder) / "images")
        for index in range(len(photographs)):
            image, annotation = photographs[index]
            if len(annotation.boxes):
                maps = localizer(image, size=(SIDE, SIDE)).maps
                scale = SIDE / torch.tensor([image.width, image.height] * 2)
                found.append(Photograph(maps[0], annotation.boxes * scale))
            print(f"\r{method}, {index + 1}/{len(photographs)}", end="", file=sys.stderr)
        print(file=sys.stderr)
    return found


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


def parsed() -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    spec = {"nargs": "+", "default": [], "metavar": "SPEC"}
    where = "wsolevaluation:FOLDER, with the lists of a split, and the images in images/"
    parser.add_argument("--data", required=True, help=f"measure on these: {where}", **spec)  # type: ignore[arg-type]
    parser.add_argument("--choose", help="choose thresholds on these", **spec)  # type: ignore[arg-type]
    parser.add_argument("--methods", nargs="+", choices=[*METHODS], default=["cam", DEFAULT])
    parser.add_argument(
        "--search", action="store_true", help="print F1 by threshold and prominence, on --data"
    )
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args()


def main() -> None:
    begun, options = origin(), parsed()
    classifier = load_classifier()
    record: dict[str, Any] = {**begun, **machine(), "results": {}}
    for method in options.methods:
        found = located(method, options.data, classifier)
        several = [photograph for photograph in found if len(photograph.boxes) > 1]
        single = [photograph for photograph in found if len(photograph.boxes) == 1]
        if options.search:
            print(f"\n{method}, F1, {len(several)} images with several boxes\n\n{search(several)}")
            continue
        thresholds = dict.fromkeys(ROWS, METHODS[method].threshold)
        if options.choose:
            tune = located(method, options.choose, classifier)
            tune = [photograph for photograph in tune if len(photograph.boxes) > 1]
            thresholds = {row: choose(row, tune) for row in ROWS}
        for title, photographs in (("several boxes", several), ("one box", single)):
            if not photographs:
                continue
            results = measure(photographs, thresholds)
            record["results"].setdefault(method, {})[title] = results
            print(f"\n{method}, {len(photographs)} images with {title}\n\n{render(results)}")
    if options.json:
        write_json(options.json, record)


if __name__ == "__main__":
    main()
