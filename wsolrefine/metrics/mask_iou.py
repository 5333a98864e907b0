"""Peak-IoU and Peak-T: the best overlap of mask and object over all gray levels."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from wsolrefine._check import check_tensors, check_values
from wsolrefine._options import check_choice
from wsolrefine.functional._opencv import opencv
from wsolrefine.metrics._inputs import (
    check_finite,
    checked_counts,
    checked_label,
    checked_masks,
)
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart, scalars
from wsolrefine.metrics._plot import draw_curve, label_axes

Aggregate = Literal["pooled", "mean"]

LEVELS = 256
FINE = 2**40
"""IoUs of images are summed as whole numbers of 1 / FINE, so that their order does not matter."""
TIE = 2 / FINE
"""Means closer than this are ties: each is off by up to half of 1 / FINE and its own rounding."""


class PeakIoUResult(NamedTuple):
    """Overlap, precision and recall at each of 256 gray levels, as fractions.

    Without an object pixel all are NaN but precision, which is 0, and 1 where nothing is predicted.

    Attributes:
        peak_iou: the largest value of ``curve``, a scalar.
        peak_threshold: the lowest gray level that reaches it, 0 to 255.
        curve: ``(256,)``, IoU of the pixels at or above each gray level with the object.
        precision: ``(256,)``, of all pixels counted.
        recall: ``(256,)``, of all pixels counted.
        average_precision: of the same pixels, a scalar.

    """

    peak_iou: Tensor
    peak_threshold: Tensor
    curve: Tensor
    precision: Tensor
    recall: Tensor
    average_precision: Tensor


def count_gray_levels(maps: Tensor, masks: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Count the gray levels of object and other pixels of each map.

    A map is min-maxed and truncated to 8 bits, ``uint8(255 (map - min) / (max - min + 1e-10))``, in
    float64. A constant map is level 0 everywhere; one with a range near 1e-10 or below reaches
    fewer levels, because of the guard. If the masks have another size, the 8-bit map is resized to
    it with OpenCV's bilinear resize, as in public evaluations of SEM.

    Args:
        maps: maps of any scale, ``(B, h, w)``.
        masks: ``(B, H, W)`` integers: 0 background, ``ignore_index`` ignored, anything else object.
        ignore_index: label of pixels to ignore.

    Returns:
        ``(B, 2, 256)`` int64 on the maps' device: levels of object pixels, then of the others.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor, ``masks`` not an integer one, or
            ``ignore_index`` not an integer.
        ValueError: shapes disagree, or a map has NaN or infinity.

    Example:
        >>> import torch
        >>> masks = torch.tensor([[[0, 1, 1]]])
        >>> counts = count_gray_levels(torch.tensor([[[1.0, 2.0, 3.0]]]), masks)
        >>> counts[0].nonzero().tolist()
        [[0, 127], [0, 254], [1, 0]]

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 4.1; the paper leaves the rounding
        open.

    """
    check_values(maps=maps)
    check_tensors(maps=(maps, "B h w"))
    masks = checked_masks(maps, masks, same_size=False)
    check_finite("maps", maps)
    ignore_index = checked_label("ignore_index", ignore_index)
    device = float64_device(maps)
    values = maps.detach().to(device, torch.float64)
    if maps.dtype == torch.float64:
        # The range of such maps may be beyond float64; theirs is far above the guard.
        values = values.where(values.abs().amax((1, 2), keepdim=True) < 1e300, values / 16)
    low, high = (end((1, 2), keepdim=True) for end in (values.amin, values.amax))
    scaled = (values - low) / (high - low + 1e-10)
    level = _enlarged(((LEVELS - 1) * scaled).to(torch.uint8), masks.shape[1:]).flatten(1)
    masks = masks.to(device).flatten(1)
    image = torch.arange(len(maps), device=device)[:, None]
    place = (2 * image + (masks == 0).long()) * LEVELS + level.long()
    counts = torch.bincount(place[masks != ignore_index], minlength=len(maps) * 2 * LEVELS)
    return counts.reshape(-1, 2, LEVELS).to(maps.device)


def _enlarged(levels: Tensor, size: torch.Size) -> Tensor:
    """Resize 8-bit maps ``(B, h, w)`` to the size of their masks."""
    if levels.shape[1:] == size:
        return levels
    if not len(levels):
        return levels.new_empty(0, *size)
    cv2 = opencv("count_gray_levels with masks of another size")
    import numpy as np

    height, width = size
    resized = [
        cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)
        for level in levels.cpu().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).to(levels.device)


def peak_iou(counts: Tensor, *, aggregate: Aggregate = "pooled") -> PeakIoUResult:
    """Return the best overlap of mask and object over one gray level for all images.

    ``IoU(T) = TP / (TP + FP + FN)`` of the pixels with level >= T, for T from 0 to 255. Choosing
    the best T for each image separately would give a larger value, which is not computed here.

    Args:
        counts: ``(B, 2, 256)`` of :func:`wsolrefine.metrics.count_gray_levels`, or their sum
            ``(2, 256)``.
        aggregate: ``pooled`` adds the pixels of all images; ``mean`` averages the images' IoU at
            each T, leaving out images that have neither object nor prediction there.

    Returns:
        :class:`wsolrefine.metrics.PeakIoUResult`, float64; NaN if no object pixel was counted.
        Precision, recall and their area, ``AP = sum P_T (R_T - R_{T+1})``, are always those of
        pooled pixels.

    Raises:
        TypeError: ``counts`` is not a tensor of integers.
        ValueError: ``counts`` has another shape (``mean`` needs those of each image), a count is
            negative, or ``aggregate`` is neither of the two.

    Example:
        >>> import torch
        >>> masks = torch.tensor([[[0, 0, 1, 1]]])
        >>> result = peak_iou(count_gray_levels(torch.tensor([[[0.0, 0.5, 0.6, 1.0]]]), masks))
        >>> result.peak_iou.item(), result.peak_threshold.item()
        (1.0, 128.0)

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 4.1 and Fig. 1. The paper does not
        say whether pixels are pooled, nor ``>=`` or ``>``, which moves T by one.

    """
    aggregate = _checked_aggregate(aggregate)
    check_values(counts=counts)
    axes = (3,) if aggregate == "mean" else (2, 3)
    if counts.ndim not in axes or counts.shape[-2:] != (2, LEVELS):
        shown = "(B, 2, 256)" if aggregate == "mean" else "(B, 2, 256) or (2, 256)"
        raise ValueError(f"counts: expected shape {shown}, got {tuple(counts.shape)}")
    counts = checked_counts("counts", counts)
    pooled = counts.sum(0) if counts.ndim == 3 else counts
    if aggregate == "pooled":
        return _result(pooled, _iou_curves(pooled))
    return _result(pooled, _iou_curves(counts).nanmean(0), tie=TIE)


def _checked_aggregate(aggregate: Aggregate) -> Aggregate:
    return check_choice("aggregate", aggregate, ("pooled", "mean"))


def _at_or_above(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return true and false positives ``(..., 256)`` of the pixels at or above each level."""
    device = float64_device(counts)
    above = counts.to(device, torch.float64).flip(-1).cumsum(-1).flip(-1)
    return above[..., 0, :], above[..., 1, :]


def _iou_curves(counts: Tensor) -> Tensor:
    """Return the IoU at each level, NaN where there is neither object nor prediction."""
    true, false = _at_or_above(counts)
    return true / (true[..., :1] + false)


def _result(pooled: Tensor, curve: Tensor, *, tie: float = 0.0) -> PeakIoUResult:
    true, false = _at_or_above(pooled)
    # Without an object there is nothing to overlap with, at any level.
    curve = curve.where(true[0] > 0, torch.nan)
    precision = torch.where(true + false > 0, true / (true + false).clamp_min(1), 1.0)
    recall = true / true[0]
    average = (precision * (recall - torch.cat([recall[1:], recall.new_zeros(1)]))).sum()
    peak = curve.nan_to_num(-1.0).amax()
    at = (curve >= peak - tie).int().argmax()  # the lowest on ties
    peak, level = (value.where(true[0] > 0, torch.nan) for value in (peak, at.double()))
    return PeakIoUResult(peak, level, curve, precision, recall, average)


class PeakIoU(CountMetric[PeakIoUResult]):
    """Best overlap of mask and object over all gray levels, one level for all images.

    ``compute`` returns what the paper reports, as a dictionary of float64 scalars: ``peak_iou``,
    ``peak_threshold`` (0 to 255) and ``average_precision``; NaN if no object pixel was counted.
    ``details`` returns :class:`wsolrefine.metrics.PeakIoUResult`, with the curves.

    Args:
        aggregate: ``pooled`` adds the pixels of all images; ``mean`` averages the images' IoU at
            each level.
        ignore_index: label of pixels to ignore.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: ``ignore_index`` is not an integer.
        ValueError: ``aggregate`` is neither of the two.

    Example:
        >>> import torch
        >>> metric = PeakIoU()
        >>> metric.update(torch.tensor([[[0.0, 0.5, 0.6, 1.0]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> {name: value.item() for name, value in metric.compute().items()}
        {'peak_iou': 1.0, 'peak_threshold': 128.0, 'average_precision': 1.0}

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 4.1.

    """

    counts: Tensor
    iou_sum: Tensor
    images: Tensor
    _result = PeakIoUResult

    def __init__(
        self,
        *,
        aggregate: Aggregate = "pooled",
        ignore_index: int = 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aggregate = _checked_aggregate(aggregate)
        self.ignore_index = checked_label("ignore_index", ignore_index)
        zeros = torch.zeros(LEVELS, dtype=torch.int64)
        keep_apart(self, self.aggregate, self.ignore_index)
        self.add_state("counts", zeros.repeat(2, 1), dist_reduce_fx="sum")
        self.add_state("iou_sum", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("images", zeros, dist_reduce_fx="sum")

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Add a batch: maps ``(B, h, w)`` of any scale and masks ``(B, H, W)``."""
        counts = count_gray_levels(maps, masks, ignore_index=self.ignore_index)
        curves = _iou_curves(counts)
        whole = (curves.nan_to_num(0.0) * FINE).round().long().sum(0)
        self.counts = self.counts + counts.sum(0).to(self.counts.device)
        self.iou_sum = self.iou_sum + whole.to(self.iou_sum.device)
        seen = curves.isfinite().sum(0)  # at each level
        self.images = self.images + seen.to(self.images.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the peak, its gray level and the average precision."""
        return scalars(self._details(), "peak_iou", "peak_threshold", "average_precision")

    def _details(self) -> PeakIoUResult:
        if self.aggregate == "pooled":
            return _result(self.counts, _iou_curves(self.counts))
        device = float64_device(self.counts)
        curve = self.iou_sum.to(device, torch.float64) / FINE / self.images.to(device)
        return _result(self.counts, curve, tie=TIE)

    def _draw(self, details: PeakIoUResult, axes: Any) -> None:
        peak, level = details.peak_iou, details.peak_threshold
        levels = torch.arange(LEVELS)
        draw_curve(axes, levels, details.curve, "", marked=(level, peak))
        title = f"PeakIoU {peak.item():.3f} at gray level {level.item():g}"
        label_axes(axes, "gray level", "IoU", title)
