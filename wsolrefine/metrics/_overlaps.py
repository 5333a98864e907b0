"""How predicted boxes meet the true boxes of their image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Shape = tuple[int | str, ...]


class Overlaps(NamedTuple):
    """Of k predicted boxes and M true ones (the most of any image): ``(B, k, M)`` float64 each.

    Args:
        iou: intersection over union.
        of_predicted: intersection over the area of the predicted box.
        of_true: intersection over the area of the true box.

    """

    iou: Tensor
    of_predicted: Tensor
    of_true: Tensor


def overlaps(boxes: Tensor, target_boxes: Sequence[Tensor], inclusive: bool) -> Overlaps:
    """Return how boxes ``(B, k, 4)`` meet those of their image, zero where there are none.

    Ratios are float64: that of whole numbers is then below, at or above a short decimal number such
    as 0.3 exactly if the fraction is, because division and decimal are rounded alike.
    """
    device = torch.device("cpu") if boxes.device.type == "mps" else boxes.device
    first = boxes.detach().to(device, torch.float64)[:, :, None]
    # NaN meets nothing, so the padding needs no mask.
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


def check_boxes(name: str, boxes: Tensor, shape: Shape) -> None:
    """Raise unless ``boxes`` is a tensor of real numbers of this shape; a word is any size >= 1."""
    _check_shape(name, boxes, shape)
    if boxes.is_complex() or boxes.dtype == torch.bool:
        raise TypeError(f"{name}: expected real numbers, got {boxes.dtype}")


def check_labels(name: str, labels: Tensor, shape: Shape) -> None:
    """Raise unless ``labels`` is a tensor of whole numbers of this shape."""
    _check_shape(name, labels, shape)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer dtype, got {labels.dtype}")


def check_targets(target_boxes: Sequence[Tensor], target_labels: Tensor, batch: int) -> None:
    """Raise unless each of ``batch`` images has a label and a tensor ``(n, 4)`` of true boxes."""
    if len(target_boxes) != batch:
        raise ValueError(f"target_boxes: expected {batch} tensors, got {len(target_boxes)}")
    for i, some in enumerate(target_boxes):
        name = f"target_boxes[{i}]"
        check_boxes(name, some, ("n", 4))
    check_labels("target_labels", target_labels, (batch,))


def _check_shape(name: str, tensor: Tensor, shape: Shape) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    sizes = tuple(tensor.shape)
    if len(sizes) != len(shape) or any(
        size != want if isinstance(want, int) else want == "k" and size == 0
        for size, want in zip(sizes, shape, strict=True)
    ):
        shown = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name}: expected shape {shown}, got {sizes}")
