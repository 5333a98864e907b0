"""From counts to the results of ``evaluate``, at thresholds chosen on the same images or others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine.cli.evaluate.counts import IOUS, Counts
from wsolrefine.metrics import BoxAccuracy, max_box_acc, peak_iou, pixel_average_precision
from wsolrefine.metrics.error_types import LocalizationError

Results = dict[str, Any]
COUNTED = {"boxes": "single", "masks": "levels"}
"""What is counted of each kind of truth."""


class Chosen(NamedTuple):
    """The thresholds at which a split is best: of boxes as places in the list, of grey levels."""

    single: int | None
    all: list[int]
    level: int | None


def choose(counts: Counts, thresholds: Sequence[float]) -> Chosen:
    """Choose the thresholds on a split: the lowest of the best, for each IoU of V2 its own."""
    level = peak_iou(counts["levels"][None]).peak_threshold if "levels" in counts else None
    if "single" not in counts:
        return Chosen(None, [], None if level is None else int(level))
    single, all = (_box_accuracy(counts, name, thresholds) for name in ("single", "all"))
    return Chosen(_places(single)[0], _places(all), None if level is None else int(level))


def _box_accuracy(counts: Counts, name: str, thresholds: Sequence[float]) -> BoxAccuracy:
    return max_box_acc(counts[name], counts["boxed"], thresholds)


def _places(found: BoxAccuracy) -> list[int]:
    return torch.searchsorted(found.thresholds, found.best_thresholds).tolist()


def results_of(
    counts: Counts, thresholds: Sequence[float], chosen: Chosen, errors_at: Sequence[float]
) -> tuple[Results, Results]:
    """Return the results and the curves of a split, as fractions.

    Every result that depends on a threshold comes twice: at the chosen one, and at the best one of
    this very split (``max_``). They agree where the threshold was chosen here.

    Args:
        counts: of the split.
        thresholds: T of them, of boxes.
        chosen: where the results are read.
        errors_at: the thresholds for which errors were counted.

    Raises:
        ValueError: there are masks but no object pixel in them, nothing was counted, or there is
            no threshold for what was.

    """
    for name, place in (("boxes", chosen.single), ("masks", chosen.level)):
        if (COUNTED[name] in counts) != (place is not None):
            raise ValueError(f"thresholds: expected both splits to have {name}, only one has")
    if chosen.single is None and chosen.level is None:
        raise ValueError("expected a true box or a mask of at least one image, got none")
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
            "accuracy": sum(both["accuracy"]) / len(IOUS),
            "max_accuracy": all.accuracy.item(),
            "by_iou": [
                {"iou": iou, **{key: values[i] for key, values in both.items()}}
                for i, iou in enumerate(IOUS)
            ],
        }
        curves["thresholds"] = list(thresholds)
        curves["box_acc"] = single.curve[0].tolist()
        curves["box_acc_v2"] = {str(iou): all.curve[i].tolist() for i, iou in enumerate(IOUS)}
        place = list(errors_at).index(thresholds[chosen.single])
        results |= _classes(counts, chosen.single, place)
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


def _at(found: BoxAccuracy, places: Sequence[int]) -> dict[str, list[float]]:
    rows = range(len(places))
    return {
        "accuracy": [found.curve[i, place].item() for i, place in zip(rows, places, strict=True)],
        "threshold": [found.thresholds[place].item() for place in places],
        "max_accuracy": found.accuracies.tolist(),
        "max_threshold": found.best_thresholds.tolist(),
    }


def _classes(counts: Counts, place: int, error_place: int) -> Results:
    """Return what needs the classes: classification, localization, errors."""
    if "classified" not in counts:
        return {}
    total = int(counts["boxed"])
    first, five = (counts["classified"] / total).tolist()
    names = [name for name in ("top1", "top5", "gt_known") if name in counts]
    found: Tensor = counts["errors"][:, error_place]
    return {
        "classification": {"top1": first, "top5": five},
        "localization": {name: counts[name][place].item() / total for name in names},
        "errors": {error.name: found[error].item() / total for error in LocalizationError},
    }
