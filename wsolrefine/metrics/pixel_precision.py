"""PxAP: average precision of pixels, over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine.metrics._inputs import (
    checked_counts,
    checked_label,
    checked_masks,
    checked_thresholds,
    unit_interval,
)
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart
from wsolrefine.metrics._plot import draw_precision


class PixelPrecision(NamedTuple):
    """Average precision of pixels and its precision-recall curve, as fractions.

    Without an object pixel there is no recall: it is NaN, and so is the average precision.

    Attributes:
        average_precision: a scalar.
        precision: ``(T + 2,)``, from the highest scores to the lowest.
        recall: ``(T + 2,)``.

    """

    average_precision: Tensor
    precision: Tensor
    recall: Tensor


def count_scores(
    maps: Tensor,
    masks: Tensor,
    *,
    thresholds: Sequence[float] | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Count the scores of object and other pixels in bins, as wsolevaluation does.

    Each bin reaches from a threshold up to the next one, which is not part of it; the bins from the
    last threshold on are [last, 1), [1, 2) and [2, 3]. Scores are compared in float64.

    Args:
        maps: score maps in [0, 1], ``(B, H, W)``.
        masks: ``(B, H, W)`` integers: 0 background, ``ignore_index`` ignored, anything else object.
        thresholds: T rising numbers, the first of them 0; None: 0, 0.001, ... 0.999.
        ignore_index: label of pixels to ignore.

    Returns:
        ``(2, T + 2)`` int64 on the maps' device: bins of object pixels, then of the others. Counts
        of several batches add up.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor, ``masks`` not an integer one,
            ``thresholds`` not a list of numbers, or ``ignore_index`` not an integer.
        ValueError: shapes disagree, a map has NaN or values outside [0, 1] by more than rounding,
            or thresholds do not rise from 0.

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 0.4, 0.5, 1.0]]])
        >>> count_scores(maps, torch.tensor([[[0, 255, 0, 1]]]), thresholds=[0.0, 0.5])
        tensor([[0, 0, 1, 0],
                [1, 1, 0, 0]])

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2; released code (wsolevaluation), commit 96f4b88.

    """
    check_values(maps=maps)
    check_tensors(maps=(maps, "B H W"))
    masks = checked_masks(maps, masks)
    steps = _edges(thresholds)
    ignore_index = checked_label("ignore_index", ignore_index)
    values = unit_interval("maps", maps).contiguous()
    masks = masks.to(values.device)
    # The last bins hold scores of at least 1: that is, 1 itself.
    edges = torch.tensor([*steps[1:], 1.0], dtype=torch.float64, device=values.device)
    bins = len(steps) + 2
    bucket = torch.bucketize(values, edges, right=True)
    counted = masks != ignore_index
    row = (masks == 0).long()
    place = (row * bins + bucket)[counted]
    return torch.bincount(place, minlength=2 * bins).reshape(2, bins).to(maps.device)


def _edges(thresholds: Sequence[float] | None) -> list[float]:
    steps = checked_thresholds(thresholds)
    if steps[0] != 0:
        raise ValueError(f"thresholds: expected the first to be 0, got {steps[0]}")
    return steps


def pixel_average_precision(counts: Tensor) -> PixelPrecision:
    """Return the average precision of pixels from the bins of their scores.

    From the highest bin down, ``P_k`` is the fraction of object pixels among those counted so far,
    ``R_k`` the fraction of all object pixels among them, and ``AP = sum P_k (R_k - R_{k-1})``.

    Args:
        counts: ``(2, bins)`` of :func:`wsolrefine.metrics.count_scores`, the sum over batches.

    Returns:
        :class:`wsolrefine.metrics.PixelPrecision`, float64 fractions. Precision before the first
        pixel is 1. If no object pixel was counted, recall and average precision are NaN.

    Raises:
        TypeError: ``counts`` is not a tensor of integers.
        ValueError: ``counts`` has another shape, or a count is negative.

    Example:
        >>> import torch
        >>> result = pixel_average_precision(torch.tensor([[0, 1, 1], [2, 0, 0]]))
        >>> result.average_precision, result.recall
        (tensor(1., dtype=torch.float64), tensor([0.5000, 1.0000, 1.0000], dtype=torch.float64))

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2 (PxAP).

    """
    check_values(counts=counts)
    if counts.ndim != 2 or counts.shape[0] != 2 or not counts.shape[1]:
        raise ValueError(f"counts: expected shape (2, bins), got {tuple(counts.shape)}")
    counts = checked_counts("counts", counts)
    device = float64_device(counts)
    true, false = counts.to(device, torch.float64).flip(1).cumsum(1)
    precision = torch.where(true + false > 0, true / (true + false).clamp_min(1), 1.0)
    recall = true / true[-1]
    gained = recall.diff(prepend=recall.new_zeros(1))
    return PixelPrecision((precision * gained).sum(), precision, recall)


class PxAP(CountMetric[PixelPrecision]):
    """Average precision of pixels over all images, with regions to ignore.

    ``compute`` returns the average precision, a float64 scalar, NaN if no object pixel was counted.
    ``details`` returns :class:`wsolrefine.metrics.PixelPrecision`.

    Args:
        thresholds: edges of the bins of scores, T rising numbers from 0; None: 0, 0.001, ... 0.999.
        ignore_index: label of pixels to ignore.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: ``thresholds`` is not a list of numbers, or ``ignore_index`` not an integer.
        ValueError: thresholds do not rise from 0.

    Example:
        >>> import torch
        >>> metric = PxAP()
        >>> maps = torch.tensor([[[0.9, 0.8, 0.1]]])
        >>> metric.update(maps, torch.tensor([[[1, 0, 1]]]))
        >>> round(metric.compute().item(), 4)  # 1/2 * 1 + 1/2 * 2/3
        0.8333
        >>> round(metric.details().precision[-1].item(), 4)  # of all pixels: 2/3
        0.6667

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.

    """

    counts: Tensor
    _result = PixelPrecision

    def __init__(
        self,
        *,
        thresholds: Sequence[float] | None = None,
        ignore_index: int = 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = _edges(thresholds)
        self.ignore_index = checked_label("ignore_index", ignore_index)
        counts = torch.zeros(2, len(self.thresholds) + 2, dtype=torch.int64)
        keep_apart(self, self.thresholds, self.ignore_index)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Add a batch: maps ``(B, H, W)`` in [0, 1] and masks of the same shape."""
        counts = count_scores(
            maps, masks, thresholds=self.thresholds, ignore_index=self.ignore_index
        )
        self.counts = self.counts + counts.to(self.counts.device)

    def compute(self) -> Tensor:
        """Return the average precision."""
        return self._details().average_precision

    def _details(self) -> PixelPrecision:
        return pixel_average_precision(self.counts)

    def _draw(self, details: PixelPrecision, axes: Any) -> None:
        title = f"PxAP {details.average_precision.item():.3f}"
        draw_precision(axes, details.recall, details.precision, title)
