"""Which classes of an image are mapped."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from wsolrefine._check import check_classes, check_labels
from wsolrefine._options import check_count


def as_labels(labels: Tensor | int | None, images: Tensor) -> Tensor | None:
    """Return labels as a tensor for the images of a batch; one class stands for all of them.

    Raises:
        TypeError: ``labels`` are not int64.
        ValueError: their shape or device disagrees with the images.

    """
    if isinstance(labels, bool):
        raise TypeError("labels: expected dtype torch.int64, got torch.bool")
    if labels is None:
        return None
    if not isinstance(labels, (int, Integral)):
        check_labels("labels", labels, several=True, images=images)
        return labels
    label = check_count("labels", labels, low=-(2**63), high=2**63 - 1)
    return torch.full((len(images),), label, device=images.device)


def choose_labels(logits: Tensor, labels: Tensor | int | None, top: int) -> Tensor:
    """Return the classes ``(B, K)`` that are asked for.

    Args:
        logits: class scores, ``(B, num_classes)``.
        labels: int64, ``(B,)`` or ``(B, K)``; or one class for all images; None takes the best.
        top: number of classes an image when ``labels`` is None.

    Raises:
        TypeError: ``labels`` are not int64, or ``top`` is no integer.
        ValueError: their shape or device disagrees, they are one-hot, a label or ``top`` is out of
            range, or both are given.

    """
    number = logits.shape[1]
    labels = as_labels(labels, logits)
    if labels is None:
        return logits.topk(check_count("top", top, high=number)).indices
    if check_count("top", top) != 1:
        raise ValueError(f"top: expected none where labels are given, got {top}")
    check_classes("labels", labels, number, f"class indices from 0 to {number - 1}")
    if _is_one_hot(labels, number):
        raise ValueError(
            f"labels: expected class indices, (B,) or (B, K), got {tuple(labels.shape)} of 0 and 1,"
            " which looks like one-hot labels: use labels.argmax(1)"
        )
    return labels[:, None] if labels.ndim == 1 else labels


def _is_one_hot(labels: Tensor, number: int) -> bool:
    """Return whether labels are 0 and 1 for each class, and would ask for one class twice."""
    if labels.ndim == 1 or not labels.shape[1] == number > 1 or bool((labels > 1).any()):
        return False
    return bool((labels.sort(1).values.diff(dim=1) == 0).any())
