"""What ``evaluate`` counts of one image. Counts add up: over images, batches and machines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsolrefine.cli.evaluate.score_maps import Seen
from wsolrefine.data import Annotation
from wsolrefine.metrics import count_box_hits, count_grey_levels, count_scores, thresholds_of
from wsolrefine.metrics.box_hits import inclusive_boxes, largest_boxes_at
from wsolrefine.metrics.error_types import LocalizationError, localization_errors

IOUS = (0.3, 0.5, 0.7)


class Rule(NamedTuple):
    """How boxes are counted.

    ``step`` is the distance of ``thresholds``; ``hit_iou`` is the least IoU in Top-1, Top-5 and
    GT-known; ``errors_at`` lists the thresholds at which errors are sorted, all of them unless one
    is chosen already; ``true_class`` says that the maps are those of the true classes.
    """

    step: float
    thresholds: list[float]
    hit_iou: float
    errors_at: list[float]
    true_class: bool


def rule_of(step: float, above: bool, true_class: bool) -> Rule:
    """Return the rule of a run, all thresholds of which may be chosen.

    Args:
        step: distance of the thresholds.
        above: an IoU of exactly 0.5 is no hit in Top-1, Top-5 and GT-known.
        true_class: the maps are those of the true classes.

    """
    thresholds = thresholds_of(step)
    # An IoU above 0.5 is one of at least the next larger number.
    hit_iou = float(np.nextafter(0.5, 1)) if above else 0.5
    return Rule(step, thresholds, hit_iou, thresholds, true_class)


class Masks(NamedTuple):
    """An image's mask as it is stored, and at the size of its map (1, 0, 255 for neither)."""

    stored: Tensor
    small: Tensor


class Counts(dict[str, Tensor]):
    """Named tensors of int64; a name that only one side has counts as zero on the other."""

    def add(self, other: Counts) -> None:
        """Add the counts of other images."""
        for name, count in other.items():
            self[name] = self[name] + count if name in self else count


def count_image(seen: Seen, truth: Annotation, masks: Masks | None, rule: Rule) -> Counts:
    """Count one image: boxes where it has some, pixels where it has a mask.

    Args:
        seen: its score map and classes.
        truth: its label, its boxes, and the size of the image if there are any.
        masks: of the image; None: it has none.
        rule: how boxes are counted.

    Returns:
        flat () maps without contrast; with true boxes boxed (), single (1, T) and all (3, T) images
        that reach the IoU at each threshold, of one box (0.5) and of all boxes (0.3, 0.5, 0.7);
        with classes also classified (2,), top1, top5, gt_known (T,) and errors (6, E); with a mask
        masks (), scores (2, T + 2) and levels (2, 256).

    """
    map, counts = seen.map, Counts()
    counts["flat"] = (map.min() == map.max()).long()
    if len(truth.boxes):
        assert truth.size is not None
        maps, boxes, sizes = map[None], [truth.boxes], [truth.size]

        def hits(ious: tuple[float, ...], all_contours: bool) -> Tensor:
            return count_box_hits(
                maps, boxes, image_sizes=sizes, thresholds=rule.thresholds, ious=ious,
                all_contours=all_contours,
            )  # fmt: skip

        counts["boxed"] = torch.tensor(1)
        counts["single"], counts["all"] = hits((0.5,), False), hits(IOUS, True)
        if seen.classes is not None:
            known = counts["single"] if rule.hit_iou == 0.5 else hits((rule.hit_iou,), False)
            right, among = truth.label == seen.classes[0], truth.label in seen.classes
            counts["classified"] = torch.tensor([right, among]).long()
            counts["top1"] = known[0] * right
            if rule.true_class:
                counts["top5"], counts["gt_known"] = known[0] * among, known[0]
            counts["errors"] = count_errors(map, truth, seen.classes[0], rule.errors_at)
    if masks is not None:
        counts["masks"] = torch.tensor(1)
        counts["scores"] = count_scores(map[None], masks.small[None], thresholds=rule.thresholds)
        counts["levels"] = count_grey_levels(map[None], masks.stored[None])[0]
    return counts


def count_errors(map: Tensor, truth: Annotation, predicted: int, thresholds: list[float]) -> Tensor:
    """Sort one image into right and the five errors at each threshold, by the box of MaxBoxAcc.

    Returns:
        ``(6, T)`` int64, one 1 in each column, rows in the order of ``LocalizationError``.

    """
    codes = torch.full((len(thresholds),), LocalizationError.classification, dtype=torch.int64)
    if thresholds and predicted == truth.label:
        # Many thresholds cut out the same box.
        boxes, numbers = torch.unique(largest_boxes_at(map, thresholds), dim=0, return_inverse=True)
        labels = torch.full((len(boxes),), truth.label)
        assert truth.size is not None
        true = torch.from_numpy(inclusive_boxes(truth.boxes, truth.size, tuple(map.shape)))
        found = localization_errors(
            boxes.double(), labels, [true.double()] * len(boxes), labels, inclusive=True
        )
        codes = found[numbers]
    return torch.nn.functional.one_hot(codes, len(LocalizationError)).T.contiguous()
