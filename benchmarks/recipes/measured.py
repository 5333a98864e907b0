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
    logits, maps = located(recipe, data["test"])
    correct = logits.argmax(1) == splits["test"].labels
    chosen = located(recipe, data["validation"])[1]
    return results_of_maps({"validation": chosen, "test": maps}, splits, correct), maps


def results_of_maps(
    maps: Mapping[str, Tensor], splits: Mapping[str, Split], correct: Tensor | None = None
) -> Results:
    """Return the row of maps of the validation and the test split.

    Args:
        maps: by split.
        splits: their ground truth.
        correct: for which test images the class is correct; None: classes are not measured.

    """
    chosen = measure(maps["validation"], splits["validation"].known())
    truth = splits["test"].known()
    test = measure(maps["test"], truth)
    every = at_thresholds_of(chosen.all_boxes, test.all_boxes)
    row = {
        "MaxBoxAccV2": every.mean().item(),
        **{f"IoU {iou}": some for iou, some in zip(IOUS, every.tolist(), strict=True)},
        "GT-known": at_thresholds_of(chosen.one_box, test.one_box).item(),
    }
    if correct is not None:
        both = named(maps["test"], truth, correct)
        row["Top-1 Loc"] = at_thresholds_of(chosen.one_box, both).item()
    if test.pixels is not None:
        row["PxAP"] = test.pixels
    if correct is not None:
        row["accuracy"] = correct.double().mean().item()
    return {
        **row,
        "best MaxBoxAccV2": test.all_boxes.accuracy.item(),
        "threshold 0.5": chosen.one_box.best_thresholds.item(),
    }


def named(maps: Tensor, truth: Truth, correct: Tensor) -> BoxAccuracy:
    """Return the accuracy of boxes that count only if the class is correct.

    It is that of the maps of the predicted classes, which are those of the true classes where it
    matters. Where the class is wrong there is no box to hit.
    """
    boxes = [b if keep else b[:0] for b, keep in zip(truth.boxes, correct.tolist(), strict=True)]
    hits = count_box_hits(prepared(maps), boxes, image_sizes=truth.sizes, thresholds=STEPS)
    return max_box_acc(hits, len(maps), STEPS)
