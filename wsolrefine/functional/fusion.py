"""Fusion of maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import working
from wsolrefine.functional.normalize import minmax


def multiply_maps(maps: Sequence[Tensor]) -> Tensor:
    """Multiply maps of several layers: only what is strong in all of them remains.

    Every map is resized bilinearly (align_corners=False) to the largest grid; the product is
    min-maxed. SPOL multiplies feature maps inside the network before its classifier; this is the
    same fusion for finished maps.

    Args:
        maps: list of ``(B, H, W)`` or of ``(B, K, H, W)``, each with its own height and width.

    Returns:
        Maps in [0, 1] on the largest grid, ``(B, H, W)`` or ``(B, K, H, W)``, differentiable. A
        map that is not finite in one of the layers is zero.

    Raises:
        TypeError: a map is not a floating-point tensor, or dtypes differ.
        ValueError: the list is empty, or batch sizes, K or devices differ.

    Example:
        >>> import torch
        >>> multiply_maps([torch.tensor([[[0.0, 0.5, 1.0]]]), torch.tensor([[[1.0, 1.0, 0.5]]])])
        tensor([[[0., 1., 1.]]])

    Reference:
        Wei et al., "Shallow Feature Matters for Weakly Supervised Object Localization", CVPR 2021,
        Eq. 1.

    """
    if isinstance(maps, Tensor):
        raise TypeError("maps: expected a list of tensors, got a torch.Tensor")
    if not maps:
        raise ValueError("maps: expected at least one tensor, got an empty list")
    check_tensors(**{f"maps[{i}]": (m, f"B [K] H{i} W{i}") for i, m in enumerate(maps)})
    for i, other in enumerate(maps):
        if other.ndim != maps[0].ndim:
            raise ValueError(
                f"maps[{i}]: expected {maps[0].ndim} axes as maps[0], got {tuple(other.shape)}"
            )
    size = largest_grid(maps)
    product = resize(working(maps[0]), size)
    for other in maps[1:]:
        product = product * resize(working(other), size)
    return minmax(product).to(maps[0].dtype)
