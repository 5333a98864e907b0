"""Overlaps of predicted boxes with the true boxes of their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wsolrefine._check import check_integer, check_real
from wsolrefine.metrics._metric import float64_device


class Overlaps(NamedTuple):
    """Overlaps of k predicted with M true boxes (the most in any image), ``(B, k, M)`` float64.

    Attributes:
        iou: intersection over union.
        of_predicted: intersection over the area of the predicted box.
        of_true: intersection over the area of the true box.

    """

    iou: Tensor
    of_predicted: Tensor
    of_true: Tensor


def overlaps(boxes: Tensor, target_boxes: Sequence[Tensor], inclusive: bool) -> Overlaps:
    """Return the overlaps of boxes ``(B, k, 4)`` with those of their image, zero if it has none.

    Ratios are float64: a ratio of integers is then below, at or above a short decimal number such
    as 0.3 exactly if the fraction is, because quotient and decimal are rounded in the same way.
    """
    device = float64_device(boxes)
    first = boxes.detach().to(device, torch.float64)[:, :, None]
    # NaN overlaps nothing, so the padding needs no mask.
    nothing = first.new_full((1, 4), torch.nan)
    true = [some.detach().to(device, torch.float64) for some in target_boxes]
    second = pad_sequence([nothing, *true], batch_first=True, padding_value=torch.nan)[1:, None]
    extra = 1 if inclusive else 0

    def area(low: Tensor, high: Tensor) -> Tensor:
        return (high - low + extra).clamp_min(0).prod(-1)

    both = area(
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    one, other = area(first[..., :2], first[..., 2:]), area(second[..., :2], second[..., 2:])
    # Without area, 0 / 0; with infinite area, inf / inf: neither is an overlap.
    ratios = (both / total for total in (one + other - both, one, other))
    return Overlaps(*(ratio.nan_to_num(0.0, 0.0, 0.0) for ratio in ratios))


def check_targets(target_boxes: Sequence[Tensor], target_labels: Tensor, batch: int) -> None:
    """Raise unless each of ``batch`` images has a label and a tensor ``(n, 4)`` of true boxes."""
    if len(target_boxes) != batch:
        raise ValueError(f"target_boxes: expected {batch} tensors, got {len(target_boxes)}")
    for i, some in enumerate(target_boxes):
        name = f"target_boxes[{i}]"
        check_real(name, some, "n 4")
    check_integer("target_labels", target_labels, str(batch))
