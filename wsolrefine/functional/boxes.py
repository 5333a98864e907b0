"""Boxes of masks, and how much two boxes overlap. Boxes are half-open xyxy pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine._check import check_boolean, check_tensors, check_values
from wsolrefine._options import check_flag
from wsolrefine.functional._numeric import balance, largest, working
from wsolrefine.functional.components import connected_components, largest_component


def union_box(mask: Tensor) -> Tensor:
    """Return the tight box around all pixels of each mask.

    Args:
        mask: boolean masks, ``(B, H, W)`` or ``(B, K, H, W)``.

    Returns:
        Boxes ``(B, 4)`` or ``(B, K, 4)``, float32, half-open ``x0 y0 x1 y1`` in pixels: a mask of
        one pixel gives a 1 x 1 box. An empty mask gives zeros. Not differentiable.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``mask`` has another number of axes.

    Example:
        >>> import torch
        >>> union_box(torch.tensor([[[0, 0, 0], [0, 1, 1]]]).bool())
        tensor([[1., 1., 3., 2.]])

    Reference:
        Pan et al., CVPR 2021: the boxes of the released evaluation (mode ``union``), in half-open
        coordinates.

    """
    check_boolean(mask=(mask, "B [K] H W"))
    bounds = []
    for axis in (-2, -1):  # occupied columns, then occupied rows
        occupied = mask.any(axis)
        position = torch.arange(occupied.shape[-1], device=mask.device)
        bounds += [
            position.where(occupied, mask.numel()).amin(-1),
            (position + 1).where(occupied, 0).amax(-1),
        ]
    x0, x1, y0, y1 = bounds
    return torch.stack([x0.minimum(x1), y0.minimum(y1), x1, y1], -1).to(torch.float32)


def largest_box(mask: Tensor) -> Tensor:
    """Return the box of the largest connected component of each mask.

    Largest by number of pixels, 8-connected; on ties, the first in raster order.

    Args:
        mask: boolean masks, ``(B, H, W)`` or ``(B, K, H, W)``.

    Returns:
        Boxes ``(B, 4)`` or ``(B, K, 4)``, float32, half-open ``x0 y0 x1 y1`` in pixels. An empty
        mask gives zeros. Not differentiable.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``mask`` has another number of axes, or no values (meta device).

    Example:
        >>> import torch
        >>> largest_box(torch.tensor([[[1, 0, 0, 0], [0, 0, 1, 1]]]).bool())
        tensor([[2., 1., 4., 2.]])

    Reference:
        Zhang et al., "Rethinking Localization Map", 2020, Sec. 4.1: the box of the largest
        connected area.

    """
    return union_box(largest_component(mask))


def component_boxes(mask: Tensor) -> list[Tensor]:
    """Return the boxes of all connected components (8-connected) of each mask, largest first.

    Args:
        mask: boolean masks, ``(B, H, W)``.

    Returns:
        One tensor ``(n, 4)`` per image, float32, half-open ``x0 y0 x1 y1`` in pixels, ordered by
        number of pixels, ties in raster order; n may be 0. Not differentiable.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``mask`` has another number of axes, or no values (meta device).

    Example:
        >>> import torch
        >>> component_boxes(torch.tensor([[[1, 0, 0, 0], [0, 0, 1, 1]]]).bool())
        [tensor([[2., 1., 4., 2.],
                [0., 0., 1., 1.]])]

    Reference:
        Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020:
        MaxBoxAccV2 considers all components.

    """
    check_boolean(mask=(mask, "B H W"))
    check_values(mask=mask)
    labels = connected_components(mask)
    batch = len(mask)
    counts = labels.flatten(1).amax(1) if batch else labels.new_zeros(0)
    before = counts.cumsum(0) - counts
    _, y, x = mask.nonzero(as_tuple=True)
    component = (labels + before[:, None, None] - 1)[mask]  # numbered over the whole batch
    total = int(counts.sum())

    size = component.new_zeros(total).scatter_add_(0, component, torch.ones_like(component))
    corners = component.new_zeros(total, 4)
    for column, (value, reduction) in enumerate(
        [(x, "amin"), (y, "amin"), (x + 1, "amax"), (y + 1, "amax")]
    ):
        corners[:, column].scatter_reduce_(0, component, value, reduction, include_self=False)
    # Sort by image, then by descending size; stable sorts keep raster order on ties.
    owner = torch.arange(batch, device=mask.device).repeat_interleave(counts)
    order = size.argsort(descending=True, stable=True)
    order = order[owner[order].argsort(stable=True)]
    return list(torch.split(corners[order].to(torch.float32), counts.tolist()))


def box_iou(boxes1: Tensor, boxes2: Tensor, *, inclusive: bool = False) -> Tensor:
    """Return the intersection over union of every box of one set with every box of another.

    Args:
        boxes1: ``(n, 4)``, ``x0 y0 x1 y1``.
        boxes2: ``(m, 4)``.
        inclusive: False: half-open boxes, width ``x1 - x0``. True: ``x1`` is the last pixel, width
            ``x1 - x0 + 1``, as wsolevaluation and SPA count.

    Returns:
        ``(n, m)`` in [0, 1], differentiable almost everywhere. A box with reversed corners has no
        area; two boxes without area have IoU 0.

    Raises:
        TypeError: a set is not a floating-point tensor, dtypes differ, or ``inclusive`` is not a
            boolean.
        ValueError: a set is not ``(n, 4)``, or devices differ.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
        >>> box_iou(boxes, boxes)
        tensor([[1.0000, 0.3333],
                [0.3333, 1.0000]])

    Reference:
        Jaccard, 1912; the inclusive rule: Choe et al., CVPR 2020, released code (wsolevaluation).

    """
    check_tensors(boxes1=(boxes1, "n 4"), boxes2=(boxes2, "m 4"))
    extra = 1 if check_flag("inclusive", inclusive) else 0
    first, second = working(boxes1)[:, None], working(boxes2)[None]
    # Areas of far larger or smaller boxes than images have would overflow or vanish.
    scale = balance(torch.maximum(largest(first, -1), largest(second, -1)).clamp_min(extra))
    first, second, last_pixel = first * scale, second * scale, extra * scale

    def area(low: Tensor, high: Tensor) -> Tensor:
        return (high - low + last_pixel).clamp_min(0).prod(-1)

    overlap = area(
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    union = area(first[..., :2], first[..., 2:]) + area(second[..., :2], second[..., 2:]) - overlap
    # Of a box that vanishes beside the other, the division would have no finite gradient.
    solid = union > torch.finfo(union.dtype).smallest_normal
    return (overlap / union.where(solid, 1.0)).to(boxes1.dtype)
