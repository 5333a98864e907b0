"""From counts to the rows of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality import bootstrap
from benchmarks.quality.chosen import at_chosen
from benchmarks.quality.counts import Counts, Facts, Tables
from benchmarks.quality.measure import IOUS, STEPS
from wsolrefine.metrics import max_box_acc, peak_iou, pixel_average_precision

SIZES = (0.1, 0.35, 0.7)
"""Bounds of the share of an image that its object covers."""


def size_names() -> list[str]:
    """Return the names of the sizes of objects."""
    low, *middle, high = SIZES
    between = zip((low, *middle), (*middle, high), strict=True)
    return [f"under {low}", *(f"{start} to {stop}" for start, stop in between), f"over {high}"]


def of_sizes(shares: Tensor) -> dict[str, Tensor]:
    """Return which images have an object of a size, ``(N,)`` bool, by its name."""
    place = torch.bucketize(shares, torch.tensor(SIZES, dtype=shares.dtype))
    return {name: place == at for at, name in enumerate(size_names())}


def results_of(
    measured: Tables, elsewhere: Tables | None, names: Sequence[str], reference: str
) -> list[dict[str, Any]]:
    """Return the results of all rows as fractions.

    Args:
        measured: counts of the images that results are of.
        elsewhere: counts of those on which thresholds are chosen; None: each half of the images
            has the thresholds of the other.
        names: of the sets of images.
        reference: the row that the others are compared with.

    """
    weights = bootstrap.draw(measured.facts.groups, measured.facts.sources)
    draws: dict[str, dict[str, Tensor]] = {}
    rows: list[dict[str, Any]] = []
    # The reference comes first: the others are compared with it.
    for name in sorted(measured.rows, key=reference.__ne__):
        chosen = None if elsewhere is None else elsewhere.rows[name]
        row, draws[name] = _row(measured.rows[name], measured.facts, chosen, names, weights)
        for key, of_row in draws[name].items():
            row[f"{key} error"] = bootstrap.error(of_row)
            if name != reference:
                row[f"gain in {key}"] = row[key] - rows[0][key]
                row[f"gain in {key} error"] = bootstrap.error(of_row - draws[reference][key])
        rows.append({"method": name, **row})
    order = [*measured.rows]
    return sorted(rows, key=lambda row: order.index(row["method"]))


def _row(
    counts: Counts, facts: Facts, elsewhere: Counts | None, names: Sequence[str], weights: Tensor
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the results of a row, and of the bootstrap's draws."""
    found = at_chosen(counts, facts, elsewhere)
    each = found.every.mean(1)
    sources = {name: facts.sources == at for at, name in enumerate(names)}
    row: dict[str, Any] = {
        "MaxBoxAccV2": each.mean().item(),
        "best MaxBoxAccV2": _best(counts.every),
        **{f"IoU {iou}": found.every[:, at].mean().item() for at, iou in enumerate(IOUS)},
        "box accuracy 0.5": found.one.mean().item(),
        "thresholds": found.thresholds,
        "sizes": {name: _mean(each[some]) for name, some in of_sizes(facts.shares).items()},
        "sources": {name: _mean(each[some]) for name, some in sources.items()},
        "sources error": {
            name: bootstrap.error(bootstrap.means(each[some], weights[:, some]))
            for name, some in sources.items()
        },
    }
    draws = {"MaxBoxAccV2": bootstrap.means(each, weights)}
    if counts.scores is not None and counts.gray is not None:
        row["PxAP"] = pixel_average_precision(counts.scores.sum(0)).average_precision.item()
        draws["PxAP"] = bootstrap.average_precisions(counts.scores, weights)
        row["best Peak-IoU"] = peak_iou(counts.gray).peak_iou.item()
        if found.levels:
            row["Peak-IoU"], row["gray levels"] = found.overlap, found.levels
    return row, draws


def _best(hits: Tensor) -> float:
    return max_box_acc(hits.sum(0), len(hits), STEPS).accuracy.item()


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None


def size_counts(facts: Facts) -> Mapping[str, int]:
    """Return the number of images with an object of each size."""
    return {name: int(some.sum()) for name, some in of_sizes(facts.shares).items()}
