"""MaxBoxAcc and MaxBoxAccV2: box accuracy at the best threshold of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine.metrics._inputs import Sizes, checked_ious, checked_thresholds
from wsolrefine.metrics._metric import Metric, float64_device, keep_apart
from wsolrefine.metrics.box_hits import count_box_hits
from wsolrefine.metrics.box_hits_half_open import count_box_hits_half_open


class BoxAccuracy(NamedTuple):
    """Box accuracy over thresholds, as fractions.

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
        hits: ``(I, T)`` numbers of images, the sum over batches.
        total: number of images.
        thresholds: the T thresholds.

    Returns:
        :class:`wsolrefine.metrics.BoxAccuracy`, float64 fractions; NaN if there is no image.

    Raises:
        ValueError: ``hits`` is not ``(I, T)`` with one column for each threshold.

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
    if hits.ndim != 2 or hits.shape[1] != len(thresholds) or 0 in hits.shape:
        raise ValueError(
            f"hits: expected shape (I, {len(thresholds)}) as thresholds, got {tuple(hits.shape)}"
        )
    device = float64_device(hits)
    curve = hits.to(device, torch.float64) / torch.as_tensor(total, device=device)
    tried = torch.tensor(list(thresholds), dtype=torch.float64, device=device)
    at = (curve == curve.amax(1, keepdim=True)).int().argmax(1)  # the first on ties
    accuracies = curve.gather(1, at[:, None])[:, 0]
    return BoxAccuracy(accuracies.mean(), accuracies, tried[at], tried, curve)


class _BoxMetric(Metric):
    """Counts of hits, which add up over batches and processes."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor
    _all: bool

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
        self.half_open = half_open
        hits = torch.zeros(len(self.ious), len(self.thresholds), dtype=torch.int64)
        keep_apart(self, self.thresholds, self.ious, half_open)
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
        self.hits += hits.to(self.hits.device)
        self.total += len(maps)

    def compute(self) -> BoxAccuracy:
        """Return the accuracy, the best thresholds and the curve.

        torchmetrics turns tensors of one element into scalars: with one IoU, ``accuracies`` and
        ``best_thresholds``.
        """
        return max_box_acc(self.hits, self.total, self.thresholds)


class MaxBoxAcc(_BoxMetric):
    """Box accuracy of one box per image at the best threshold of the data set.

    A prediction is the box of the largest component of the map above a threshold; it is right if
    its IoU with any true box is at least 0.5. Hits are summed over images, then the best threshold
    is taken, one for all images.

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
        ValueError: a threshold or IoU is out of range.

    Example:
        >>> import torch
        >>> metric = MaxBoxAcc(thresholds=[0.0, 0.5])
        >>> maps = torch.full((1, 6, 6), 0.2)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> metric.update(maps, [torch.tensor([[1.0, 1.0, 4.0, 4.0]])])
        >>> result = metric.compute()
        >>> result.accuracy.item(), result.best_thresholds.item(), result.curve.tolist()
        (1.0, 0.5, [[0.0, 1.0]])

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.

    """

    _all = False


class MaxBoxAccV2(_BoxMetric):
    """Box accuracy of the best of all boxes, averaged over the IoUs 0.3, 0.5 and 0.7.

    Every component of the map above a threshold gives a box; the image is right if any of them has
    at least the IoU with any true box. The best threshold is taken for each IoU separately.

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
        ValueError: a threshold or IoU is out of range.

    Example:
        >>> import torch
        >>> metric = MaxBoxAccV2(thresholds=[0.0, 0.5])
        >>> maps = torch.full((1, 6, 6), 0.2)
        >>> maps[0, 1:4, 1:4] = 1.0
        >>> metric.update(maps, [torch.tensor([[1.0, 1.0, 4.0, 4.0]])])
        >>> result = metric.compute()
        >>> result.accuracies.tolist(), result.best_thresholds.tolist()  # IoU 9 / 16
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
