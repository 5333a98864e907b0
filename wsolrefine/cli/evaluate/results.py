"""From counts to the results of ``evaluate``, at thresholds chosen on this or another split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine.cli.evaluate.counts import IOUS, Counts
from wsolrefine.metrics import BoxAccuracy, max_box_acc, peak_iou, pixel_average_precision
from wsolrefine.metrics.error_types import LocalizationError

Results = dict[str, Any]
COUNT_OF = {"boxes": "single", "masks": "levels"}
"""For boxes and masks, the name of a count that exists if a split has them."""


class Chosen(NamedTuple):
    """The best thresholds of a split: for boxes as indices of the list, for masks a gray level."""

    single: int | None
    all: list[int]
    level: int | None


def choose_thresholds(counts: Counts, thresholds: Sequence[float]) -> Chosen:
    """Return the lowest of the best thresholds of a split; MaxBoxAccV2 has one for each IoU.

    Raises:
        ValueError: there are masks without any object pixel.

    """
    _check_objects(counts)
    level = int(peak_iou(counts["levels"][None]).peak_threshold) if "levels" in counts else None
    if "single" not in counts:
        return Chosen(None, [], level)
    single, all = (_box_accuracy(counts, name, thresholds) for name in ("single", "all"))
    return Chosen(_best_indices(single)[0], _best_indices(all), level)


def _check_objects(counts: Counts) -> None:
    for name in ("levels", "scores"):
        if name in counts and not counts[name][0].any():
            raise ValueError("masks: expected at least one object pixel, got none")


def _box_accuracy(counts: Counts, name: str, thresholds: Sequence[float]) -> BoxAccuracy:
    return max_box_acc(counts[name], counts["boxed"], thresholds)


def _best_indices(found: BoxAccuracy) -> list[int]:
    return torch.searchsorted(found.thresholds, found.best_thresholds).tolist()


def compute_results(
    counts: Counts, thresholds: Sequence[float], chosen: Chosen, errors_at: Sequence[float]
) -> tuple[Results, Results]:
    """Return the results and the curves of a split, as fractions.

    A result that depends on a threshold is given twice: at the chosen threshold, and at the best
    threshold of this split (``max_``). They are equal if the threshold was chosen on this split.

    Args:
        counts: counts of the split.
        thresholds: the T thresholds of boxes.
        chosen: the thresholds of the results.
        errors_at: the thresholds at which error types were counted.

    Raises:
        ValueError: there are masks without any object pixel, there are neither boxes nor masks, or
            only one of the two splits has boxes or masks.

    """
    for name, chosen_index in (("boxes", chosen.single), ("masks", chosen.level)):
        if (COUNT_OF[name] in counts) != (chosen_index is not None):
            raise ValueError(f"thresholds: expected both splits to have {name}, got only one")
    if chosen.single is None and chosen.level is None:
        raise ValueError("expected a true box or a mask of at least one image, got none")
    _check_objects(counts)
    results: Results = {}
    curves: Results = {}
    if chosen.single is not None:
        single, all = (_box_accuracy(counts, name, thresholds) for name in ("single", "all"))
        results["box_acc"] = {
            "iou": 0.5,
            **{k: v[0] for k, v in _at(single, [chosen.single]).items()},
        }
        both = _at(all, chosen.all)
        results["box_acc_v2"] = {
            # As max_box_acc averages: a sum of floats differs between versions of Python.
            "accuracy": torch.tensor(both["accuracy"], dtype=torch.float64).mean().item(),
            "max_accuracy": all.accuracy.item(),
            "by_iou": [
                {"iou": iou, **{key: values[i] for key, values in both.items()}}
                for i, iou in enumerate(IOUS)
            ],
        }
        curves["thresholds"] = list(thresholds)
        curves["box_acc"] = single.curve[0].tolist()
        curves["box_acc_v2"] = {str(iou): all.curve[i].tolist() for i, iou in enumerate(IOUS)}
        error_index = list(errors_at).index(thresholds[chosen.single])
        results |= _class_results(counts, chosen.single, error_index)
    if chosen.level is not None:
        pixels = pixel_average_precision(counts["scores"])
        levels = peak_iou(counts["levels"][None])
        results["px_ap"] = pixels.average_precision.item()
        results["peak_iou"] = {
            "iou": levels.curve[chosen.level].item(),
            "threshold": chosen.level,
            "max_iou": levels.peak_iou.item(),
            "max_threshold": int(levels.peak_threshold),
            "average_precision": levels.average_precision.item(),
        }
        curves["precision"], curves["recall"] = pixels.precision.tolist(), pixels.recall.tolist()
        curves["iou_by_level"] = levels.curve.tolist()
    return results, curves


def _at(found: BoxAccuracy, indices: Sequence[int]) -> dict[str, list[float]]:
    return {
        "accuracy": [found.curve[row, index].item() for row, index in enumerate(indices)],
        "threshold": [found.thresholds[index].item() for index in indices],
        "max_accuracy": found.accuracies.tolist(),
        "max_threshold": found.best_thresholds.tolist(),
    }


def _class_results(counts: Counts, index: int, error_index: int) -> Results:
    """Return the results that need the classes: classification, localization, errors."""
    if "classified" not in counts:
        return {}
    total = int(counts["boxed"])
    top1, top5 = (counts["classified"] / total).tolist()
    names = [name for name in ("top1", "top5", "gt_known") if name in counts]
    errors: Tensor = counts["errors"][:, error_index]
    return {
        "classification": {"top1": top1, "top5": top5},
        "localization": {name: counts[name][index].item() / total for name in names},
        "errors": {error.name: errors[error].item() / total for error in LocalizationError},
    }
