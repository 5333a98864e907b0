"""From the maps of a trained recipe to its row."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.quality.measure import IOUS, STEPS, at_thresholds_of, measure, prepared
from benchmarks.recipes.features import Examples, batches
from benchmarks.recipes.splits import Split, Truth
from wsolrefine.metrics import BoxAccuracy, count_box_hits, max_box_acc
from wsolrefine.recipes import Recipe

Results = dict[str, float]
Row = tuple[str, Results]


@torch.no_grad()
def located(recipe: Recipe, data: Examples) -> tuple[Tensor, Tensor]:
    """Return the class scores of all images, and the maps of their true classes."""
    recipe = recipe.cpu().eval()
    logits, maps = [], []
    for indices in batches(len(data)):
        inputs, labels = data.__getitems__(indices)
        # Not class_maps, which takes images only: most recipes get features here.
        scores, maps_of = recipe.activate(inputs)
        logits.append(scores)
        maps.append(maps_of(labels))
    return torch.cat(logits), torch.cat(maps)


def results_of(
    recipe: Recipe, data: Mapping[str, Examples], splits: Mapping[str, Split]
) -> tuple[Results, Tensor]:
    """Return a row, with the thresholds of the validation split, and the maps of the test split."""
    chosen = measure(located(recipe, data["validation"])[1], splits["validation"].known())
    logits, maps = located(recipe, data["test"])
    labels, truth = splits["test"].labels, splits["test"].known()
    test, correct = measure(maps, truth), logits.argmax(1) == labels
    every = at_thresholds_of(chosen.all_boxes, test.all_boxes)
    row = {
        "MaxBoxAccV2": every.mean().item(),
        **{f"IoU {iou}": some for iou, some in zip(IOUS, every.tolist(), strict=True)},
        "GT-known": at_thresholds_of(chosen.one_box, test.one_box).item(),
        "Top-1 Loc": at_thresholds_of(chosen.one_box, named(maps, truth, correct)).item(),
        **({} if test.pixels is None else {"PxAP": test.pixels}),
        "accuracy": correct.double().mean().item(),
        "best MaxBoxAccV2": test.all_boxes.accuracy.item(),
        "threshold 0.5": chosen.one_box.best_thresholds.item(),
    }
    return row, maps


def named(maps: Tensor, truth: Truth, correct: Tensor) -> BoxAccuracy:
    """Return the accuracy of boxes that count only if the class is correct.

    It is that of the maps of the predicted classes, which are those of the true classes where it
    matters. Where the class is wrong there is no box to hit.
    """
    boxes = [b if keep else b[:0] for b, keep in zip(truth.boxes, correct.tolist(), strict=True)]
    hits = count_box_hits(prepared(maps), boxes, image_sizes=truth.sizes, thresholds=STEPS)
    return max_box_acc(hits, len(maps), STEPS)
