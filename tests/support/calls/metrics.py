"""Metrics: as functions, as classes when they are made, and their updates."""

import numpy as np
import torch

from tests.support import wrong_values as kinds
from tests.support.calls.call import of
from tests.support.wrong_values import Kind
from wsolrefine import metrics

MAPS = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
LINES = MAPS > 0.5
BOXES = [torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([[1.0, 1, 3, 3], [0, 0, 2, 2]])]
FOUND = torch.tensor([[[0.0, 0, 3, 3], [1, 1, 2, 2]]] * 2)
BOXED = {"maps": MAPS, "boxes": BOXES}
MASKED = {"maps": MAPS, "masks": LINES.long()}
EDGES = {"edges": MAPS, "boundaries": LINES}
LABELED = {
    "labels": torch.tensor([[0, 1], [1, 0]]),
    "target_boxes": BOXES,
    "target_labels": torch.tensor([0, 0]),
}
BEST = {"boxes": FOUND, **LABELED}
FIRST = {"boxes": FOUND[:, 0], **LABELED, "labels": LABELED["labels"][:, 0]}

THRESHOLDS = Kind(
    [0.0, 0.5], np.array([0.0, 0.5]), torch.tensor([0.0, 0.5]), legal={"None"}, either={"tuple"}
)
FROM_ZERO = THRESHOLDS  # the first must be 0
SIZES = {
    "image_sizes": Kind([(5, 6), (10, 12)], torch.tensor([[5, 6], [5, 6]]), None, legal={"None"})
}
IOUS = {"ious": Kind((0.5,), [0.3, 1], legal={"tuple"})}
IOU = {"iou": Kind(0.25, np.float32(0.25), 1, legal={"a half"})}
IGNORED = {"ignore_index": Kind(255, np.int64(7), legal={"zero", "two", "minus one", "a million"})}
TOLERANCE = {"tolerance": Kind(0.1, legal={"zero", "a half", "two", "a million"})}
HIT = {"hit": kinds.choice(">", ">=")}
KNOWN = {"gt_known_boxes": Kind(FOUND[:, 0], None, legal={"None"})}
INCLUSIVE = {"inclusive": kinds.flag}
AGGREGATE = {"aggregate": kinds.choice("pooled", "mean")}
SUPPRESS = {"suppress": kinds.flag}
COUNTS = torch.ones(2, 2, 256).long()
CALLS = [
    of(metrics.thresholds_of, {"step": 0.1}, {"step": Kind(0.25, 1, legal={"a half"})}),
    of(metrics.prepare_score_map, {"map": MAPS[0], "size": (7, 8)}, {"size": kinds.size}),
    of(
        metrics.score_map_boxes,
        {"map": MAPS[0], "threshold": 0.5},
        {"threshold": kinds.fraction, "all_contours": kinds.flag},
    ),
    of(
        metrics.count_box_hits,
        BOXED,
        SIZES | IOUS | {"thresholds": THRESHOLDS, "all_contours": kinds.flag},
    ),
    of(
        metrics.count_box_hits_half_open,
        BOXED,
        SIZES | IOUS | {"thresholds": THRESHOLDS, "all_components": kinds.flag},
    ),
    of(
        metrics.max_box_acc,
        {"hits": torch.ones(1, 2).long(), "total": 3, "thresholds": [0.0, 0.5]},
        {
            "total": Kind(3, torch.tensor(3), legal={"two", "a million", "0-d tensor"}),
            "thresholds": Kind([0.0, 0.5], torch.tensor([0.0, 0.5]), either={"tuple"}),
        },
        total="total|hits",
    ),
    of(metrics.count_scores, MASKED, IGNORED | {"thresholds": FROM_ZERO}),
    of(metrics.pixel_average_precision, {"counts": torch.ones(2, 4).long()}),
    of(metrics.count_gray_levels, MASKED, IGNORED),
    of(metrics.peak_iou, {"counts": COUNTS}, AGGREGATE),
    of(metrics.localization_hits, BEST | {"hit": ">"}, HIT | IOU | INCLUSIVE | KNOWN),
    of(metrics.localization_errors, FIRST, INCLUSIVE),
    of(metrics.match_boundaries, {"predicted": LINES, "target": LINES}, TOLERANCE),
    of(
        metrics.count_boundary_matches,
        EDGES,
        TOLERANCE | SUPPRESS | {"thresholds": THRESHOLDS},
    ),
    of(
        metrics.boundary_score,
        {"counts": torch.ones(2, 4, 99).long()},
        {"best": Kind(None, legal={"None"}), "thresholds": Kind(None, legal={"None"})},
        best="best|counts",
        thresholds="thresholds|counts",
    ),
    of(
        metrics.MaxBoxAcc,
        {},
        IOUS | {"thresholds": THRESHOLDS, "half_open": kinds.flag},
    ),
    of(
        metrics.MaxBoxAccV2,
        {},
        IOUS | {"thresholds": THRESHOLDS, "half_open": kinds.flag},
    ),
    of(metrics.PxAP, {}, IGNORED | {"thresholds": FROM_ZERO}),
    of(metrics.PeakIoU, {}, IGNORED | AGGREGATE),
    of(metrics.LocalizationAccuracy, {"hit": ">"}, HIT | IOU | INCLUSIVE),
    of(metrics.LocalizationErrors, {}, INCLUSIVE),
    of(
        metrics.BoundaryScore, {}, TOLERANCE | SUPPRESS | {"thresholds": THRESHOLDS}
    ),
]  # fmt: skip
UPDATES = {
    "MaxBoxAcc": of(metrics.MaxBoxAcc().update, BOXED, SIZES),
    "MaxBoxAccV2": of(metrics.MaxBoxAccV2().update, BOXED, SIZES),
    "PxAP": of(metrics.PxAP().update, MASKED),
    "PeakIoU": of(metrics.PeakIoU().update, MASKED),
    "LocalizationAccuracy": of(metrics.LocalizationAccuracy(hit=">").update, BEST, KNOWN),
    "LocalizationErrors": of(metrics.LocalizationErrors().update, FIRST),
    "BoundaryScore": of(metrics.BoundaryScore().update, EDGES),
}
METHODS = [*UPDATES.values()]
