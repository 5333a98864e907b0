"""Metrics of weakly supervised localization, as functions of tensors and as torchmetrics."""

from wsolrefine.metrics._inputs import thresholds_of
from wsolrefine.metrics.boundary import (
    BoundaryResult,
    BoundaryScore,
    boundary_score,
    count_boundary_matches,
)
from wsolrefine.metrics.box_accuracy import BoxAccuracy, MaxBoxAcc, MaxBoxAccV2, max_box_acc
from wsolrefine.metrics.box_hits import count_box_hits, prepare_score_map, score_map_boxes
from wsolrefine.metrics.box_hits_half_open import count_box_hits_half_open
from wsolrefine.metrics.error_types import (
    ErrorRates,
    LocalizationError,
    LocalizationErrors,
    localization_errors,
)
from wsolrefine.metrics.localization_accuracy import (
    LocalizationAccuracy,
    LocalizationRates,
    localization_hits,
)
from wsolrefine.metrics.mask_iou import PeakIoU, PeakIoUResult, count_gray_levels, peak_iou
from wsolrefine.metrics.matching import match_boundaries
from wsolrefine.metrics.pixel_precision import (
    PixelPrecision,
    PxAP,
    count_scores,
    pixel_average_precision,
)

__all__ = [
    "BoundaryResult",
    "BoundaryScore",
    "BoxAccuracy",
    "ErrorRates",
    "LocalizationAccuracy",
    "LocalizationError",
    "LocalizationErrors",
    "LocalizationRates",
    "MaxBoxAcc",
    "MaxBoxAccV2",
    "PeakIoU",
    "PeakIoUResult",
    "PixelPrecision",
    "PxAP",
    "boundary_score",
    "count_boundary_matches",
    "count_box_hits",
    "count_box_hits_half_open",
    "count_gray_levels",
    "count_scores",
    "localization_errors",
    "localization_hits",
    "match_boundaries",
    "max_box_acc",
    "peak_iou",
    "pixel_average_precision",
    "prepare_score_map",
    "score_map_boxes",
    "thresholds_of",
]
