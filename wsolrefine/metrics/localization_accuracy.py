"""Top-1, Top-5 and GT-known localization accuracy at one threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from wsolrefine._check import check_integer, check_real
from wsolrefine.metrics._metric import Metric, float64_device, keep_apart
from wsolrefine.metrics._overlaps import check_targets, overlaps

Hit = Literal[">=", ">"]


class LocalizationRates(NamedTuple):
    """Localization accuracy, as fractions.

    Attributes:
        top1: the first class and its box are right.
        top5: one of the given classes and its box are right.
        gt_known: the box of the true class is right.

    """

    top1: Tensor
    top5: Tensor
    gt_known: Tensor


def localization_hits(
    boxes: Tensor,
    labels: Tensor,
    target_boxes: Sequence[Tensor],
    target_labels: Tensor,
    *,
    hit: Hit,
    iou: float = 0.5,
    inclusive: bool = False,
    gt_known_boxes: Tensor | None = None,
) -> Tensor:
    """Return whether each image is localized: Top-1, Top-5, GT-known.

    A box is right if its best IoU with a true box is ``>= iou`` or ``> iou``, as ``hit`` says:
    papers differ, which matters for boxes with exactly that IoU.

    Args:
        boxes: one box for each predicted class, the best class first, ``(B, k, 4)``,
            ``x0 y0 x1 y1``. NaN means no box.
        labels: the predicted classes, ``(B, k)`` integers. Top-5 needs k = 5.
        target_boxes: B tensors ``(n, 4)`` of true boxes; an image without any is not localized.
        target_labels: true classes, ``(B,)`` integers.
        hit: ``">="`` (wsolevaluation, ORNet) or ``">"`` (SPA, SPOL, SEM, CSoA).
        iou: the IoU to reach, in (0, 1].
        inclusive: False: half-open boxes, width ``x1 - x0``, and a box of zeros is no box. True:
            ``x1`` is the last pixel, width ``x1 - x0 + 1``, as in SPA's released code, where a box
            of zeros is the first pixel.
        gt_known_boxes: boxes of the true class's maps, ``(B, 4)``; None: the first of ``boxes``,
            which is correct for class-agnostic maps and is what SPA's released code does.

    Returns:
        ``(B, 3)`` booleans on the device of ``boxes``: Top-1, Top-k, GT-known. Not differentiable.

    Raises:
        TypeError: boxes are not real numbers, or labels are not integers.
        ValueError: shapes disagree, ``hit`` is neither of the two, or ``iou`` is out of range.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 4.0]]])
        >>> labels, truth = torch.tensor([[7, 3]]), [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
        >>> localization_hits(boxes, labels, truth, torch.tensor([3]), hit=">=")
        tensor([[False,  True,  True]])
        >>> localization_hits(boxes, labels, truth, torch.tensor([3]), hit=">")
        tensor([[False, False,  True]])

    Reference:
        Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015; Pan et
        al., CVPR 2021, Sec. 4.1 and released code.

    """
    _check_rule(hit, iou)
    check_real("boxes", boxes, "B k 4")
    batch, count = boxes.shape[:2]
    check_integer("labels", labels, f"{batch} {count}")
    check_targets(target_boxes, target_labels, batch)
    if gt_known_boxes is not None:
        check_real("gt_known_boxes", gt_known_boxes, f"{batch} 4")

    def meets(some: Tensor) -> Tensor:
        best = overlaps(some, target_boxes, inclusive).iou.amax(2)
        return (best >= iou if hit == ">=" else best > iou).to(boxes.device)

    met = meets(boxes)
    known = met[:, 0] if gt_known_boxes is None else meets(gt_known_boxes[:, None])[:, 0]
    right = met & (labels.to(met.device) == target_labels.to(met.device)[:, None])
    return torch.stack([right[:, 0], right.any(1), known], 1)


def _check_rule(hit: Hit, iou: float) -> None:
    if hit not in (">=", ">"):
        raise ValueError(f"hit: expected '>=' or '>', got {hit!r}")
    if not 0 < iou <= 1:
        raise ValueError(f"iou: expected a number in (0, 1], got {iou}")


class LocalizationAccuracy(Metric):
    """Top-1, Top-5 and GT-known localization accuracy at one IoU.

    Args:
        hit: ``">="`` (wsolevaluation, ORNet) or ``">"`` (SPA, SPOL, SEM, CSoA); there is no default
            because papers differ.
        iou: the IoU to reach, in (0, 1].
        inclusive: False: half-open boxes. True: ``x1`` and ``y1`` are the last pixel, as in SPA's
            released code.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        ValueError: ``hit`` is neither of the two, or ``iou`` is out of range.

    Example:
        >>> import torch
        >>> metric = LocalizationAccuracy(hit=">=")
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 4.0]]])
        >>> truth = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
        >>> metric.update(boxes, torch.tensor([[7, 3]]), truth, torch.tensor([3]))
        >>> [rate.item() for rate in metric.compute()]
        [0.0, 1.0, 1.0]

    Reference:
        Russakovsky et al., IJCV 2015; Pan et al., CVPR 2021, Sec. 4.1.

    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(
        self, *, hit: Hit, iou: float = 0.5, inclusive: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_rule(hit, iou)
        self.hit = hit
        self.iou = iou
        self.inclusive = inclusive
        keep_apart(self, hit, iou, inclusive)
        self.add_state("hits", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        boxes: Tensor,
        labels: Tensor,
        target_boxes: Sequence[Tensor],
        target_labels: Tensor,
        gt_known_boxes: Tensor | None = None,
    ) -> None:
        """Add a batch, as :func:`wsolrefine.metrics.localization_hits` takes it."""
        found = localization_hits(
            boxes,
            labels,
            target_boxes,
            target_labels,
            hit=self.hit,
            iou=self.iou,
            inclusive=self.inclusive,
            gt_known_boxes=gt_known_boxes,
        )
        self.hits += found.sum(0).to(self.hits.device)
        self.total += len(found)

    def compute(self) -> LocalizationRates:
        """Return the accuracies, float64; NaN if there is no image."""
        device = float64_device(self.hits)
        rates = self.hits.to(device, torch.float64) / self.total.to(device)
        return LocalizationRates(*rates)
