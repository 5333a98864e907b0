"""Why a predicted box is wrong: the error taxonomy of SPA."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wsolrefine._options import check_flag
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart, scalars
from wsolrefine.metrics._overlaps import checked_predictions, overlaps
from wsolrefine.metrics._plot import draw_bars


class LocalizationError(IntEnum):
    """Kinds of error, in the order of :class:`wsolrefine.metrics.ErrorRates`."""

    right = 0
    classification = 1
    multi_instance = 2
    part = 3
    more = 4
    other = 5


class ErrorRates(NamedTuple):
    """Fractions of images, which add up to 1.

    Attributes:
        right: class and box are right.
        classification: the class is wrong (SPA: Cls).
        multi_instance: the box covers several objects (M-Ins).
        part: the box lies mostly within the object (Part).
        more: the box covers most of the object and too much around it (More).
        other: none of these (OT).

    """

    right: Tensor
    classification: Tensor
    multi_instance: Tensor
    part: Tensor
    more: Tensor
    other: Tensor


ERRORS = tuple(error.name for error in LocalizationError if error.name != "right")


def localization_errors(
    boxes: Tensor,
    labels: Tensor,
    target_boxes: Sequence[Tensor],
    target_labels: Tensor,
    *,
    inclusive: bool = False,
) -> Tensor:
    """Classify each image as right or as one of five errors. The first rule that holds applies.

    1. classification: the class is wrong.
    2. right: the best IoU with a true box > 0.5.
    3. multi_instance: two or more true boxes are covered by more than 0.3 of their area.
    4. part: more than 0.5 of the predicted box lies in the true box of the best IoU (if none
       overlaps, the first).
    5. more: 0.7 or more of that true box is covered.
    6. other: no rule above holds; also if there is no predicted or no true box.

    The limits are fixed: they do not depend on the IoU at which an accuracy is measured.

    Args:
        boxes: one box per image, ``(B, 4)``, ``x0 y0 x1 y1``. NaN overlaps nothing.
        labels: predicted classes, ``(B,)`` integers.
        target_boxes: B tensors ``(n, 4)`` of true boxes.
        target_labels: true classes, ``(B,)`` integers.
        inclusive: False: half-open boxes, width ``x1 - x0``, and a box of zeros is no box. True:
            ``x1`` is the last pixel, width ``x1 - x0 + 1``, as in SPA's released code, where a box
            of zeros is the first pixel.

    Returns:
        ``(B,)`` int64 values of :class:`wsolrefine.metrics.LocalizationError` on the device of
        ``boxes``. Not differentiable.

    Raises:
        TypeError: boxes are not real numbers, labels are not integers, or ``inclusive`` is not a
            boolean.
        ValueError: shapes disagree, a box has its corners reversed, a true box is not finite or
            has no pixel, or a class is negative.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 4.0]])
        >>> truth = [torch.tensor([[0.0, 0.0, 4.0, 5.0]])] * 2
        >>> labels = torch.tensor([3, 3])
        >>> codes = localization_errors(boxes, labels, truth, labels)
        >>> [LocalizationError(code).name for code in codes.tolist()]
        ['right', 'part']

    Reference:
        Pan et al., "Unveiling the Potential of Structure Preserving for Weakly Supervised Object
        Localization", CVPR 2021, Table 4; limits of its released code.

    """
    inclusive = check_flag("inclusive", inclusive)
    true = checked_predictions(boxes, labels, target_boxes, target_labels, "B", inclusive)
    iou, of_predicted, of_true = (
        ratio[:, 0] for ratio in overlaps(boxes[:, None], true, inclusive)
    )
    device = iou.device
    best, at = iou.max(1)  # the first on ties
    first_that_holds = {
        LocalizationError.classification: labels.to(device).long()
        != target_labels.to(device).long(),
        LocalizationError.right: best > 0.5,
        LocalizationError.multi_instance: (of_true > 0.3).sum(1) >= 2,
        LocalizationError.part: of_predicted.gather(1, at[:, None])[:, 0] > 0.5,
        LocalizationError.more: of_true.gather(1, at[:, None])[:, 0] >= 0.7,
    }
    codes = torch.full((len(boxes),), LocalizationError.other, dtype=torch.int64, device=device)
    for code, holds in reversed(first_that_holds.items()):
        codes = codes.masked_fill(holds, code)
    return codes.to(boxes.device)


class LocalizationErrors(CountMetric[ErrorRates]):
    """Fractions of images that are wrong for one of five reasons.

    ``compute`` returns the five as a dictionary: ``classification``, ``multi_instance``, ``part``,
    ``more``, ``other``. ``details`` returns :class:`wsolrefine.metrics.ErrorRates`, which has those
    that are right too. All are NaN if there is no image.

    Args:
        inclusive: False: half-open boxes. True: ``x1`` and ``y1`` are the last pixel, as in SPA's
            released code.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: ``inclusive`` is not a boolean.

    Example:
        >>> import torch
        >>> metric = LocalizationErrors()
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 4.0]])
        >>> truth = [torch.tensor([[0.0, 0.0, 4.0, 5.0]])] * 2
        >>> metric.update(boxes, torch.tensor([3, 3]), truth, torch.tensor([3, 3]))
        >>> {name: rate.item() for name, rate in metric.compute().items()}
        {'classification': 0.0, 'multi_instance': 0.0, 'part': 0.5, 'more': 0.0, 'other': 0.0}
        >>> metric.details().right.item()
        0.5

    Reference:
        Pan et al., CVPR 2021, Table 4.

    """

    higher_is_better = False
    counts: Tensor
    _result = ErrorRates

    def __init__(self, *, inclusive: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inclusive = check_flag("inclusive", inclusive)
        counts = torch.zeros(len(LocalizationError), dtype=torch.int64)
        keep_apart(self, self.inclusive)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    def update(
        self,
        boxes: Tensor,
        labels: Tensor,
        target_boxes: Sequence[Tensor],
        target_labels: Tensor,
    ) -> None:
        """Add a batch: boxes ``(B, 4)``, their classes, B tensors of true boxes, true classes."""
        codes = localization_errors(
            boxes, labels, target_boxes, target_labels, inclusive=self.inclusive
        )
        kinds = torch.arange(len(LocalizationError), device=codes.device)
        self.counts = self.counts + (codes[:, None] == kinds).sum(0).to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the fractions of the five errors."""
        return scalars(self._details(), *ERRORS)

    def _details(self) -> ErrorRates:
        device = float64_device(self.counts)
        counts = self.counts.to(device, torch.float64)
        return ErrorRates(*(counts / counts.sum()))

    def _draw(self, details: ErrorRates, axes: Any) -> None:
        rates = scalars(details, *ERRORS).items()
        draw_bars(axes, {name.replace("_", " "): rate for name, rate in rates})
        axes.set_title(f"LocalizationErrors ({100 * details.right.item():.1f}% right)")
