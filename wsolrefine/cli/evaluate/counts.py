"""The counts of one image in ``evaluate``, which add up over images and batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsolrefine.cli.evaluate.score_maps import Prediction
from wsolrefine.data import Annotation
from wsolrefine.metrics import count_box_hits, count_gray_levels, count_scores, thresholds_of
from wsolrefine.metrics.box_hits import inclusive_boxes, largest_boxes_at
from wsolrefine.metrics.error_types import LocalizationError, localization_errors

IOUS = (0.3, 0.5, 0.7)


class Rule(NamedTuple):
    """How boxes are counted.

    ``step`` is the step between ``thresholds``. ``hit_iou`` is the minimum IoU in Top-1, Top-5 and
    GT-known. ``errors_at`` lists the thresholds at which error types are counted: all of them, or
    the chosen one. ``true_class`` tells whether the maps are those of the true classes.
    """

    step: float
    thresholds: list[float]
    hit_iou: float
    errors_at: list[float]
    true_class: bool


def make_rule(step: float, above: bool, true_class: bool) -> Rule:
    """Return the rule of a run.

    Args:
        step: step between thresholds.
        above: whether an IoU of exactly 0.5 is no hit in Top-1, Top-5 and GT-known.
        true_class: whether the maps are those of the true classes.

    """
    thresholds = thresholds_of(step)
    # An IoU above 0.5 is an IoU of at least the next larger number.
    hit_iou = float(np.nextafter(0.5, 1)) if above else 0.5
    return Rule(step, thresholds, hit_iou, thresholds, true_class)


class Masks(NamedTuple):
    """An image's mask as stored, and resized to its map: 1 object, 0 background, 255 ignored."""

    stored: Tensor
    resized: Tensor


class Counts(dict[str, Tensor]):
    """Named int64 tensors; a missing name counts as zero."""

    def add(self, other: Counts) -> None:
        """Add the counts of other images."""
        for name, count in other.items():
            self[name] = self[name] + count if name in self else count


def count_image(
    prediction: Prediction, truth: Annotation, masks: Masks | None, rule: Rule
) -> Counts:
    """Count one image: its boxes if it has boxes, its pixels if it has a mask.

    Args:
        prediction: its score map and predicted classes.
        truth: its label, its boxes, and with boxes the size of the image.
        masks: its mask; None if it has none.
        rule: how boxes are counted.

    Returns:
        The counts, with T thresholds and E thresholds of errors:

        - always ``constant`` ``()``, the constant maps;
        - with true boxes ``boxed`` ``()``, ``single`` ``(1, T)`` and ``all`` ``(3, T)``: images
          that reach the IoU at each threshold with one box (0.5) and with any box (0.3, 0.5, 0.7);
        - with boxes and classes ``classified`` ``(2,)``, ``top1``, ``top5``, ``gt_known`` ``(T,)``
          and ``errors`` ``(6, E)``;
        - with a mask ``masks`` ``()``, ``scores`` ``(2, T + 2)`` and ``levels`` ``(2, 256)``.

    """
    map, counts = prediction.map, Counts()
    counts["constant"] = (map.min() == map.max()).long()
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
        classes = prediction.classes
        if classes is not None:
            hit = counts["single"] if rule.hit_iou == 0.5 else hits((rule.hit_iou,), False)
            in_top1, in_top5 = truth.label == classes[0], truth.label in classes
            counts["classified"] = torch.tensor([in_top1, in_top5]).long()
            counts["top1"] = hit[0] * in_top1
            if rule.true_class:
                counts["top5"], counts["gt_known"] = hit[0] * in_top5, hit[0]
            counts["errors"] = count_errors(map, truth, classes[0], rule.errors_at)
    if masks is not None:
        counts["masks"] = torch.tensor(1)
        counts["scores"] = count_scores(map[None], masks.resized[None], thresholds=rule.thresholds)
        counts["levels"] = count_gray_levels(map[None], masks.stored[None])[0]
    return counts


def count_errors(map: Tensor, truth: Annotation, predicted: int, thresholds: list[float]) -> Tensor:
    """Classify one image as correct or one of five error types, by the box of MaxBoxAcc.

    Returns:
        int64 ``(6, T)``, a single 1 in each column, rows in the order of ``LocalizationError``.

    """
    codes = torch.full((len(thresholds),), LocalizationError.classification, dtype=torch.int64)
    if thresholds and predicted == truth.label:
        # Many thresholds have the same box.
        boxes, inverse = torch.unique(largest_boxes_at(map, thresholds), dim=0, return_inverse=True)
        labels = torch.full((len(boxes),), truth.label)
        assert truth.size is not None
        true = torch.from_numpy(inclusive_boxes(truth.boxes, truth.size, tuple(map.shape)))
        found = localization_errors(
            boxes.double(), labels, [true.double()] * len(boxes), labels, inclusive=True
        )
        codes = found[inverse]
    return torch.nn.functional.one_hot(codes, len(LocalizationError)).T.contiguous()
