"""Connected components of a batch of masks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from wsolrefine._check import check_boolean, check_values
from wsolrefine._options import check_choice
from wsolrefine.functional._graphs import values_are_hidden
from wsolrefine.functional._propagation import label_by_propagation


def connected_components(mask: Tensor, *, connectivity: Literal[4, 8] = 8) -> Tensor:
    """Number the connected components of each mask.

    Args:
        mask: boolean masks, ``(B, H, W)`` or ``(B, K, H, W)``.
        connectivity: 8 joins diagonal neighbors, 4 does not.

    Returns:
        Labels, int64, same shape: 0 for background, components from 1 in raster order of their
        first pixel. The same on every device and in graphs; a GPU iterates to convergence and
        synchronizes.

    Raises:
        TypeError: ``mask`` is not boolean.
        ValueError: ``mask`` has another number of axes or no values (meta device), or
            ``connectivity`` is not 4 or 8.

    Example:
        >>> import torch
        >>> connected_components(torch.tensor([[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]).bool())[0]
        tensor([[1, 0, 0],
                [0, 1, 0],
                [0, 0, 1]])
        >>> connected_components(torch.eye(2).bool()[None], connectivity=4)[0]
        tensor([[1, 0],
                [0, 2]])

    Reference:
        Rosenfeld and Pfaltz, "Sequential Operations in Digital Picture Processing", 1966.

    """
    check_boolean(mask=(mask, "B [K] H W"))
    check_values(mask=mask)
    connectivity = check_choice("connectivity", connectivity, (4, 8))
    readable = mask.device.type == "cpu" and not values_are_hidden()
    label = _label_scipy if readable else label_by_propagation
    return label(mask.flatten(0, -3), connectivity).reshape(mask.shape)


def largest_component(mask: Tensor) -> Tensor:
    """Keep the component with the most pixels (8-connected); on ties, the first in raster order.

    Takes masks ``(B, H, W)`` or ``(B, K, H, W)`` and returns masks of the same shape.
    """
    labels = connected_components(mask)
    flat = labels.flatten(-2)
    size = flat.new_zeros(*flat.shape[:-1], flat.shape[-1] + 1)
    size.scatter_add_(-1, flat, (flat > 0).long())
    largest = size.argmax(-1)  # the first on ties
    return mask & (labels == largest[..., None, None])


def _label_scipy(mask: Tensor, connectivity: int) -> Tensor:
    """Label ``(B, H, W)`` on the CPU in one call: the structure never joins two images."""
    import numpy as np
    from scipy import ndimage

    structure = np.zeros((3, 3, 3), np.int8)
    structure[1] = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    labels = np.empty(mask.shape, np.int32 if mask.numel() < 2**31 else np.int64)
    count = ndimage.label(mask.numpy(), structure, output=labels)
    # scipy promises no order: find each label's first pixel (the last one written in reverse).
    flat = labels.ravel()
    first = np.zeros(count + 1, np.int64)
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    order = first[1:].argsort()
    # Labels are numbered over the whole batch: restart from 1 in each image.
    image = first[1:][order] // max(1, mask[:1].numel())
    in_image = np.arange(count) - image.searchsorted(image)
    number = np.zeros(count + 1, np.int64)
    number[1 + order] = 1 + in_image
    return torch.from_numpy(number[labels])
