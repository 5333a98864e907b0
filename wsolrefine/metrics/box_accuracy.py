"""MaxBoxAcc and MaxBoxAccV2: box accuracy at the best threshold of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine._check import check_values
from wsolrefine._options import check_count, check_flag
from wsolrefine.metrics._inputs import (
    Sizes,
    checked_counts,
    checked_ious,
    checked_thresholds,
)
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart
from wsolrefine.metrics._plot import draw_curve, label_axes
from wsolrefine.metrics.box_hits import count_box_hits
from wsolrefine.metrics.box_hits_half_open import count_box_hits_half_open


class BoxAccuracy(NamedTuple):
    """Box accuracy over thresholds, as fractions. All but ``thresholds`` are NaN without an image.

    Attributes:
        accuracy: mean of ``accuracies``, a scalar.
        accuracies: ``(I,)``, for each IoU the accuracy at its best threshold.
        best_thresholds: ``(I,)``, the lowest threshold that reaches it.
        thresholds: ``(T,)``, the thresholds tried.
        curve: ``(I, T)``, the accuracy at each threshold.

    """

    accuracy: Tensor
    accuracies: Tensor
    best_thresholds: Tensor
    thresholds: Tensor
    curve: Tensor


def max_box_acc(hits: Tensor, total: Tensor | int, thresholds: Sequence[float]) -> BoxAccuracy:
    """Return MaxBoxAcc and MaxBoxAccV2 from counts: accuracy at the best of all thresholds.

    One threshold holds for all images, the best one for each IoU. It is chosen on the images that
    are measured, so the result is an upper bound. For an unbiased result, choose it on other images
    and read ``curve`` there.

    Args:
        hits: ``(I, T)`` integers, numbers of images, the sum over batches.
        total: number of images, an integer or a tensor ``()``.
        thresholds: the T thresholds, rising in [0, 1].

    Returns:
        :class:`wsolrefine.metrics.BoxAccuracy`, float64 fractions; NaN if there is no image.

    Raises:
        TypeError: ``hits`` or ``total`` is not of integers, or ``thresholds`` is not of numbers.
        ValueError: ``hits`` is not ``(I, T)`` with one column for each threshold, a count is
            negative or larger than ``total``, or thresholds do not rise in [0, 1].

    Example:
        >>> import torch
        >>> result = max_box_acc(torch.tensor([[1, 3, 3], [1, 0, 0]]), 4, [0.0, 0.1, 0.2])
        >>> result.accuracy, result.accuracies, result.best_thresholds
        (tensor(0.5000, dtype=torch.float64), tensor([0.7500, 0.2500], dtype=torch.float64), \
tensor([0.1000, 0.0000], dtype=torch.float64))

    Reference:
        Choe et al., CVPR 2020, Sec. 3.2 (MaxBoxAcc); Choe et al., "Evaluation for Weakly Supervised
        Object Localization: Protocol, Metrics, and Datasets", TPAMI 2022 (MaxBoxAccV2).

    """
    steps = checked_thresholds(thresholds, optional=False)
    check_values(hits=hits)
    if hits.ndim != 2 or hits.shape[1] != len(steps) or 0 in hits.shape:
        raise ValueError(
            f"hits: expected shape (I, {len(steps)}) as thresholds, got {tuple(hits.shape)}"
        )
    hits, images = checked_counts("hits", hits), _checked_total(total)
    if int(hits.max()) > images:
        raise ValueError(f"hits: expected at most total={images}, got {int(hits.max())}")
    device = float64_device(hits)
    curve = hits.to(device, torch.float64) / torch.tensor(images, device=device)
    tried = torch.tensor(steps, dtype=torch.float64, device=device)
    at = (curve == curve.amax(1, keepdim=True)).int().argmax(1)  # the first on ties
    accuracies = curve.gather(1, at[:, None])[:, 0]
    best = tried[at].where(accuracies.isfinite(), torch.nan)
    return BoxAccuracy(accuracies.mean(), accuracies, best, tried, curve)


def _checked_total(total: Tensor | int) -> int:
    if isinstance(total, Tensor):
        check_values(total=total)
        if total.ndim:
            raise ValueError(f"total: expected shape (), got {tuple(total.shape)}")
        return int(checked_counts("total", total))
    return check_count("total", total, low=0, high=2**62)


class _BoxMetric(CountMetric[BoxAccuracy]):
    """Counts of hits, which add up over batches and processes."""

    hits: Tensor
    total: Tensor
    _all: bool
    _result = BoxAccuracy

    def __init__(
        self,
        *,
        thresholds: Sequence[float] | None = None,
        ious: Sequence[float] = (0.5,),
        half_open: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = checked_thresholds(thresholds)
        self.ious = checked_ious(ious)
        self.half_open = check_flag("half_open", half_open)
        hits = torch.zeros(len(self.ious), len(self.thresholds), dtype=torch.int64)
        keep_apart(self, self.thresholds, self.ious, self.half_open)
        self.add_state("hits", hits, dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        maps: Tensor,
        boxes: Sequence[Tensor],
        image_sizes: Sizes | None = None,
    ) -> None:
        """Add a batch: maps ``(B, H, W)``, B tensors ``(n, 4)`` of half-open boxes, image sizes."""
        options: dict[str, Any] = {"thresholds": self.thresholds, "ious": self.ious}
        options["image_sizes"] = image_sizes
        if self.half_open:
            hits = count_box_hits_half_open(maps, boxes, all_components=self._all, **options)
        else:
            hits = count_box_hits(maps, boxes, all_contours=self._all, **options)
        self.hits = self.hits + hits.to(self.hits.device)
        self.total = self.total + len(maps)

    def compute(self) -> Tensor:
        """Return the accuracy at the best threshold of each IoU, averaged over the IoUs."""
        return self._details().accuracy

    def _details(self) -> BoxAccuracy:
        return max_box_acc(self.hits, self.total, self.thresholds)

    def _draw(self, details: BoxAccuracy, axes: Any) -> None:
        results = details.curve, details.accuracies, details.best_thresholds
        for iou, curve, accuracy, best in zip(self.ious, *results, strict=True):
            label = f"IoU {iou:g}: {accuracy.item():.3f} at {best.item():g}"
            draw_curve(axes, details.thresholds, curve, label, marked=(best, accuracy))
        title = f"{type(self).__name__} {details.accuracy.item():.3f}"
        label_axes(axes, "threshold", "box accuracy", title)


class MaxBoxAcc(_BoxMetric):
    """Box accuracy of one box per image at the best threshold of the data set.

    A prediction is the box of the largest component of the map above a threshold; it is right if
    its IoU with any true box is at least 0.5. Hits are summed over images, then the best threshold
    is taken, one for all images.

    ``compute`` returns the accuracy, a float64 scalar, NaN if there is no image; an image without a
    true box counts, and is missed. ``details`` returns :class:`wsolrefine.metrics.BoxAccuracy`: the
    accuracy at each threshold and the best thresholds.

    Args:
        thresholds: T fractions of each map's maximum, or with ``half_open`` values of the maps;
            None: 0, 0.001, ... 0.999.
        ious: IoUs to reach; the accuracy is the mean over them.
        half_open: False: wsolevaluation's protocol, number for number
            (:func:`wsolrefine.metrics.count_box_hits`), on the CPU. True: plain boxes on the maps'
            device (:func:`wsolrefine.metrics.count_box_hits_half_open`).
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: thresholds or IoUs are not numbers, or ``half_open`` is not a boolean.
        ValueError: a threshold or IoU is out of range, or thresholds do not rise.

    Example:
        >>> import torch
        >>> metric = MaxBoxAcc(thresholds=[0.0, 0.5])
        >>> maps = torch.full((1, 6, 6), 0.2)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> metric.update(maps, [torch.tensor([[1.0, 1.0, 4.0, 4.0]])])
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
        >>> metric.details().best_thresholds.tolist(), metric.details().curve.tolist()
        ([0.5], [[0.0, 1.0]])

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.

    """

    _all = False


class MaxBoxAccV2(_BoxMetric):
    """Box accuracy of the best of all boxes, averaged over the IoUs 0.3, 0.5 and 0.7.

    Every component of the map above a threshold gives a box; the image is right if any of them has
    at least the IoU with any true box. The best threshold is taken for each IoU separately.

    ``compute`` returns the accuracy, a float64 scalar, NaN if there is no image; an image without a
    true box counts, and is missed. ``details`` returns :class:`wsolrefine.metrics.BoxAccuracy`: the
    accuracy at each threshold and the best thresholds.

    Args:
        thresholds: T fractions of each map's maximum, or with ``half_open`` values of the maps;
            None: 0, 0.001, ... 0.999.
        ious: IoUs to reach; the accuracy is the mean over them.
        half_open: False: wsolevaluation's protocol, number for number
            (:func:`wsolrefine.metrics.count_box_hits`), on the CPU. True: plain boxes on the maps'
            device (:func:`wsolrefine.metrics.count_box_hits_half_open`).
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: thresholds or IoUs are not numbers, or ``half_open`` is not a boolean.
        ValueError: a threshold or IoU is out of range, or thresholds do not rise.

    Example:
        >>> import torch
        >>> metric = MaxBoxAccV2(thresholds=[0.0, 0.5])
        >>> maps = torch.full((1, 6, 6), 0.2)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> metric.update(maps, [torch.tensor([[1.0, 1.0, 4.0, 4.0]])])
        >>> round(metric.compute().item(), 4)  # IoU 9 / 16
        0.6667
        >>> metric.details().accuracies.tolist(), metric.details().best_thresholds.tolist()
        ([1.0, 1.0, 0.0], [0.5, 0.5, 0.0])

    Reference:
        Choe et al., "Evaluation for Weakly Supervised Object Localization: Protocol, Metrics, and
        Datasets", TPAMI 2022.

    """

    _all = True

    def __init__(
        self,
        *,
        thresholds: Sequence[float] | None = None,
        ious: Sequence[float] = (0.3, 0.5, 0.7),
        half_open: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(thresholds=thresholds, ious=ious, half_open=half_open, **kwargs)
