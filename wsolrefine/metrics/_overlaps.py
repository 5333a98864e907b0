"""Overlaps of predicted boxes with the true boxes of their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wsolrefine._check import check_integer, check_real, check_values
from wsolrefine.metrics._inputs import checked_box_lists
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


def checked_predictions(
    boxes: Tensor,
    labels: Tensor,
    target_boxes: Sequence[Tensor],
    target_labels: Tensor,
    axes: str,
    inclusive: bool,
) -> list[Tensor]:
    """Return the true boxes of each image, with all of an evaluation of boxes and classes checked.

    ``axes`` are those of the predicted classes: "B" or "B k".
    """
    check_corners("boxes", boxes, f"{axes} 4")
    batch = len(boxes)
    check_classes("labels", labels, " ".join(map(str, boxes.shape[:-1])))
    lists = checked_box_lists("target_boxes", target_boxes, batch, "")
    for i, some in enumerate(lists):
        ordered = (some[:, 2:] >= some[:, :2]) & some[:, 2:].isfinite() & some[:, :2].isfinite()
        if not bool(ordered.all()):
            expected = f"target_boxes[{i}]: expected finite corners, x0 <= x1 and y0 <= y1"
            raise ValueError(f"{expected}, got {some[~ordered.all(1)][0].tolist()}")
    fractions = not inclusive and all(_within_unit(some) for some in (boxes, *lists))
    for i, some in enumerate(lists):
        _check_pixels(f"target_boxes[{i}]", some, inclusive, fractions)
    check_classes("target_labels", target_labels, str(batch))
    return lists


def _within_unit(boxes: Tensor) -> bool:
    """Return whether all boxes may be fractions of the image; NaN is no box."""
    return bool(((boxes >= 0) & (boxes <= 1) | boxes.isnan()).all())


def _check_pixels(name: str, boxes: Tensor, inclusive: bool, fractions: bool) -> None:
    """Raise if a true box has no pixel of an image, whatever its size: no box would hit it.

    If all boxes, also those that were predicted, are fractions of the image, then IoUs of half-open
    boxes are right.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    if fractions:
        empty = (high <= low).any(1)
    elif inclusive:
        parts = ((boxes >= 0) & (boxes <= 1)).all(1) & (boxes % 1 != 0).any(1)
        empty = (high.floor() < low.ceil()).any(1) | (high < 0).any(1) | parts
    else:
        empty = (high - low < 1).any(1) | (high <= 0).any(1)
    if bool(empty.any()):
        rule = "inclusive" if inclusive else "half-open"
        expected = f"{name}: expected {rule} boxes of one pixel or more of the image"
        raise ValueError(f"{expected}, got {boxes[empty][0].tolist()}")


def check_corners(name: str, boxes: Tensor, pattern: str) -> None:
    """Raise if a predicted box has its corners reversed, as one of width and height often has."""
    check_values(**{name: boxes})
    check_real(name, boxes, pattern)
    corners = boxes.detach().to(float64_device(boxes), torch.float64).flatten(0, -2)
    reversed_ = (corners[:, 2:] < corners[:, :2]).any(1)  # NaN means no box
    if bool(reversed_.any()):
        expected = f"{name}: expected x0 <= x1 and y0 <= y1, or NaN for no box"
        raise ValueError(f"{expected}, got {corners[reversed_][0].tolist()}")


def check_classes(name: str, labels: Tensor, pattern: str) -> None:
    """Raise unless a tensor holds classes, which are integers of at least 0."""
    check_values(**{name: labels})
    check_integer(name, labels, pattern)
    least = int(labels.to(torch.int64).min()) if labels.numel() else 0
    if least < 0:
        raise ValueError(f"{name}: expected classes >= 0, got {least}")
