"""Which classes of an image are mapped: one, or several, as many as it has."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsolrefine._check import check_classes, check_dense, check_labels
from wsolrefine._options import check_count, kind_of

Labels = Tensor | int | Sequence[Sequence[int] | Tensor]
"""One class for all images; int64 ``(B,)`` or ``(B, K)``; multi-hot; or a list for each image."""

NONE = -1
"""The label where an image has fewer classes than another one."""


def as_labels(labels: Labels | None, images: Tensor) -> Tensor | None:
    """Return labels as int64 ``(B,)`` or ``(B, K)`` for the images of a batch; -1 for none.

    Raises:
        TypeError: ``labels`` are of another kind or dtype.
        ValueError: their shape or device disagrees with the images, or multi-hot labels are not 0
            and 1.

    """
    if isinstance(labels, bool):
        raise TypeError("labels: expected dtype torch.int64, got torch.bool")
    if labels is None:
        return None
    if isinstance(labels, (int, Integral)):
        label = check_count("labels", labels, low=-(2**63), high=2**63 - 1)
        return torch.full((len(images),), label, device=images.device)
    if isinstance(labels, Sequence) and not isinstance(labels, (str, bytes)):
        return _from_lists(labels, images)
    if columns_of(labels) is not None:
        return _from_multi_hot(labels, images)
    check_labels("labels", labels, several=True, images=images)
    return labels


def columns_of(labels: object) -> int | None:
    """Return the number of columns of multi-hot labels; None if they are none.

    A ``(B, K)`` tensor of integers holds K class indices for each image. One of bool or floating
    point has a column for each class.
    """
    if not isinstance(labels, Tensor) or labels.ndim != 2:
        return None
    is_hot = labels.dtype == torch.bool or labels.dtype.is_floating_point
    return labels.shape[1] if is_hot else None


def check_columns(columns: int | None, number: int) -> None:
    """Raise unless multi-hot labels have a column for each class; None: they are not multi-hot.

    Raises:
        ValueError: there are more or fewer.

    """
    if columns not in (None, number):
        raise ValueError(
            f"labels: expected multi-hot labels (B, {number}) as the model has class scores, got "
            f"{columns} columns"
        )


def choose_labels(logits: Tensor, labels: Labels | None, top: int) -> Tensor:
    """Return the classes ``(B, K)`` that are asked for; -1 for none.

    Args:
        logits: class scores, ``(B, num_classes)``.
        labels: see :func:`wsolrefine.class_activation`; None takes the best.
        top: number of classes an image when ``labels`` is None.

    Raises:
        TypeError: ``labels`` are of another kind or dtype, or ``top`` is no integer.
        ValueError: their shape or device disagrees, they are one-hot integers, a label or ``top``
            is out of range, or both are given.

    """
    number = logits.shape[1]
    check_columns(columns_of(labels), number)
    indices = as_labels(labels, logits)
    if indices is None:
        return logits.topk(check_count("top", top, high=number)).indices
    if check_count("top", top) != 1:
        raise ValueError(f"top: expected none where labels are given, got {top}")
    several = indices.ndim == 2
    present = indices.masked_fill(indices == NONE, 0) if several else indices
    check_classes("labels", present, number, f"class indices from 0 to {number - 1}")
    if _is_one_hot(indices, number):
        raise ValueError(
            f"labels: expected class indices, (B,) or (B, K), got {tuple(indices.shape)} of 0 and "
            "1, which looks like one-hot labels: use labels.bool()"
        )
    return indices if several else indices[:, None]


def gathered(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the scores ``(B, K)`` of labels ``(B, K)``; of class 0 where a label is -1."""
    return scores.gather(1, labels.clamp_min(0))


def zero_where_none(values: Tensor, labels: Tensor) -> Tensor:
    """Return values ``(B, K, ...)``, zero where a label ``(B, K)`` is -1.

    Example:
        >>> zero_where_none(torch.ones(1, 2), torch.tensor([[3, -1]]))
        tensor([[1., 0.]])

    """
    none = labels < 0
    if not bool(none.any()):
        return values
    return values.masked_fill(none.reshape(*none.shape, *[1] * (values.ndim - 2)), 0)


def _from_multi_hot(labels: Tensor, images: Tensor) -> Tensor:
    """Return the indices of the columns that are 1, in order, and -1 behind them."""
    check_dense("labels", labels)
    if len(labels) != len(images) or not labels.shape[1]:
        expected = f"(B, num_classes) with B={len(images)} from images"
        raise ValueError(f"labels: expected multi-hot labels {expected}, got {tuple(labels.shape)}")
    if labels.device != images.device:
        raise ValueError(f"labels: expected {images.device} as images, got {labels.device}")
    hot = labels == 1
    if not bool((hot | (labels == 0)).all()):
        raise ValueError("labels: expected 0 and 1 in multi-hot labels, got other values")
    counts = hot.sum(1)
    longest = max(1, int(counts.max())) if len(counts) else 1
    order = hot.byte().argsort(stable=True, dim=1, descending=True)[:, :longest]
    place = torch.arange(longest, device=labels.device)
    return order.masked_fill(place >= counts[:, None], NONE)


def _from_lists(labels: Sequence[Any], images: Tensor) -> Tensor:
    """Return lists of class indices as ``(B, K)``, the shorter ones filled up with -1."""
    rows = [_row(several, number) for number, several in enumerate(labels)]
    if len(rows) != len(images):
        raise ValueError(
            f"labels: expected {len(images)} lists as there are images, got {len(rows)}"
        )
    longest = max(1, *map(len, rows)) if rows else 1
    padded = [row + [NONE] * (longest - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.int64, device=images.device).reshape(-1, longest)


def _row(several: Any, number: int) -> list[int]:
    if isinstance(several, (Tensor, np.ndarray)):
        if several.ndim != 1 or several.dtype not in (torch.int64, np.int64):
            got = f"shape {tuple(several.shape)} of {several.dtype}"
            raise TypeError(f"labels[{number}]: expected class indices, int64 (K,), got {got}")
        return [int(label) for label in several.tolist()]
    if not isinstance(several, Sequence) or isinstance(several, (str, bytes)):
        got = kind_of(several)
        raise TypeError(f"labels[{number}]: expected a list of class indices, got {got}")
    name = f"labels[{number}]"
    return [check_count(name, label, low=NONE, high=2**63 - 1) for label in several]


def _is_one_hot(labels: Tensor, number: int) -> bool:
    """Return whether labels are 0 and 1 for each class, and would ask for one class twice."""
    if labels.ndim == 1 or not labels.shape[1] == number > 1 or bool((labels > 1).any()):
        return False
    none_less = labels[(labels >= 0).all(1)]
    return len(none_less) == len(labels) and bool((labels.sort(1).values.diff(dim=1) == 0).any())
