"""Top-1, Top-5 and GT-known localization accuracy at one threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from wsolrefine._options import check_choice, check_flag, check_number
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart
from wsolrefine.metrics._overlaps import check_corners, checked_predictions, overlaps
from wsolrefine.metrics._plot import draw_bars

Hit = Literal[">=", ">"]


class LocalizationRates(NamedTuple):
    """Localization accuracy, as fractions.

    Attributes:
        top1: the first class and its box are right.
        top5: one of the first five classes and its box are right.
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
        labels: the predicted classes, ``(B, k)`` integers. Top-5 takes the first five; of fewer,
            as in a data set of fewer classes, it takes all.
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
        ``(B, 3)`` booleans on the device of ``boxes``: Top-1, Top-5, GT-known. Not differentiable.

    Raises:
        TypeError: boxes are not real numbers, labels are not integers, ``iou`` is not a number, or
            ``inclusive`` is not a boolean.
        ValueError: shapes disagree, a box has its corners reversed, a true box is not finite or
            has no pixel, a class is negative, ``hit`` is neither of the two, or ``iou`` is out of
            range.

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
    hit, iou, inclusive = _checked_rule(hit, iou, inclusive)
    true = checked_predictions(boxes, labels, target_boxes, target_labels, "B k", inclusive)
    if gt_known_boxes is not None:
        check_corners("gt_known_boxes", gt_known_boxes, f"{len(boxes)} 4")

    def meets(some: Tensor) -> Tensor:
        best = overlaps(some, true, inclusive).iou.amax(2)
        return (best >= iou if hit == ">=" else best > iou).to(boxes.device)

    met = meets(boxes)
    known = met[:, 0] if gt_known_boxes is None else meets(gt_known_boxes[:, None])[:, 0]
    classes, true_class = (some.to(met.device).long() for some in (labels, target_labels))
    right = met & (classes == true_class[:, None])
    return torch.stack([right[:, 0], right[:, :5].any(1), known], 1)


def _checked_rule(hit: Hit, iou: float, inclusive: bool) -> tuple[Hit, float, bool]:
    hit = check_choice("hit", hit, (">=", ">"))
    iou = check_number("iou", iou, above=0, high=1)
    return hit, iou, check_flag("inclusive", inclusive)


def _check_ranks(ranks: Tensor) -> None:
    """Raise unless Top-5 took the same number of classes for all images."""
    taken = [k for k, images in enumerate(ranks.tolist(), 1) if images]
    if len(taken) > 1:
        shown = " and ".join(f"{k}" if k < 5 else "5 or more" for k in taken)
        raise ValueError(f"labels: expected the same number of classes in all batches, got {shown}")


class LocalizationAccuracy(CountMetric[LocalizationRates]):
    """Top-1, Top-5 and GT-known localization accuracy at one IoU.

    ``compute`` returns the three as a dictionary: ``top1``, ``top5``, ``gt_known``; ``details``
    returns the same as :class:`wsolrefine.metrics.LocalizationRates`. All are NaN if there is no
    image. Top-5 takes the first five classes, or all of fewer; batches with different numbers of
    classes, such as 1 and 5, are refused.

    Args:
        hit: ``">="`` (wsolevaluation, ORNet) or ``">"`` (SPA, SPOL, SEM, CSoA); there is no default
            because papers differ.
        iou: the IoU to reach, in (0, 1].
        inclusive: False: half-open boxes. True: ``x1`` and ``y1`` are the last pixel, as in SPA's
            released code.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: ``iou`` is not a number, or ``inclusive`` is not a boolean.
        ValueError: ``hit`` is neither of the two, or ``iou`` is out of range.

    Example:
        >>> import torch
        >>> metric = LocalizationAccuracy(hit=">=")
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 2.0, 4.0]]])
        >>> truth = [torch.tensor([[0.0, 0.0, 4.0, 4.0]])]
        >>> metric.update(boxes, torch.tensor([[7, 3]]), truth, torch.tensor([3]))
        >>> {name: rate.item() for name, rate in metric.compute().items()}
        {'top1': 0.0, 'top5': 1.0, 'gt_known': 1.0}

    Reference:
        Russakovsky et al., IJCV 2015; Pan et al., CVPR 2021, Sec. 4.1.

    """

    hits: Tensor
    total: Tensor
    ranks: Tensor
    _result = LocalizationRates

    def __init__(
        self, *, hit: Hit, iou: float = 0.5, inclusive: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hit, self.iou, self.inclusive = _checked_rule(hit, iou, inclusive)
        keep_apart(self, self.hit, self.iou, self.inclusive)
        self.add_state("hits", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")
        # Numbers of images by the classes that Top-5 took: 1, 2, 3, 4 or 5.
        self.add_state("ranks", torch.zeros(5, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        boxes: Tensor,
        labels: Tensor,
        target_boxes: Sequence[Tensor],
        target_labels: Tensor,
        gt_known_boxes: Tensor | None = None,
    ) -> None:
        """Add a batch, as :func:`wsolrefine.metrics.localization_hits` takes it.

        Raises:
            ValueError: what that function raises, or Top-5 takes another number of classes than in
                the batches before.

        """
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
        ranks = self.ranks.clone()
        ranks[min(labels.shape[1], 5) - 1] += len(found)
        _check_ranks(ranks)
        self.ranks = ranks
        self.hits = self.hits + found.sum(0).to(self.hits.device)
        self.total = self.total + len(found)

    def compute(self) -> dict[str, Tensor]:
        """Return the three accuracies."""
        return self._details()._asdict()

    def _check_counts(self) -> None:
        _check_ranks(self.ranks)

    def _details(self) -> LocalizationRates:
        self._check_counts()  # of several processes
        device = float64_device(self.hits)
        rates = self.hits.to(device, torch.float64) / self.total.to(device)
        return LocalizationRates(*rates)

    def _draw(self, details: LocalizationRates, axes: Any) -> None:
        names = ("Top-1", "Top-5", "GT-known")
        draw_bars(axes, dict(zip(names, details, strict=True)))
        axes.set_title("LocalizationAccuracy")
