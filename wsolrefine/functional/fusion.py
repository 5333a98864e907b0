"""Fusion of maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import kind_of
from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import is_finite, working
from wsolrefine.functional.normalize import minmax


def multiply_maps(maps: Sequence[Tensor]) -> Tensor:
    """Multiply maps of several layers: only what is strong in all of them remains.

    Every map is resized bilinearly (align_corners=False) to the largest grid; the product is
    min-maxed. SPOL multiplies feature maps inside the network before its classifier; this is the
    same fusion for finished maps. As there, zero means nothing: the scale of a map does not matter,
    but its offset does. Min-max a map first (:func:`wsolrefine.minmax`) if its zero has no meaning.

    Args:
        maps: list of ``(B, H, W)`` or of ``(B, K, H, W)``, each with its own height and width;
            negative values count as zero, because the product of two would be positive.

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
    if not isinstance(maps, (list, tuple)):
        raise TypeError(f"maps: expected a list of tensors, got {kind_of(maps)}")
    if not maps:
        raise ValueError(f"maps: expected at least one tensor, got {maps!r}")
    check_tensors(**{f"maps[{i}]": (m, f"B [K] H{i} W{i}") for i, m in enumerate(maps)})
    for i, other in enumerate(maps):
        if other.ndim != maps[0].ndim:
            raise ValueError(
                f"maps[{i}]: expected {maps[0].ndim} axes as maps[0], got {tuple(other.shape)}"
            )
    size = largest_grid(maps)
    finite = torch.stack([is_finite(one, (-2, -1)) for one in maps]).all(0)[..., None, None]
    product = torch.ones((), dtype=working(maps[0]).dtype, device=maps[0].device)
    for one in maps:
        positive = working(one).clamp_min(0)
        # A peak of 1 keeps the product of any number of maps within range.
        peak = positive.detach().amax((-2, -1), keepdim=True)
        product = product * resize(positive / peak.where(peak > 0, 1.0), size)
    return minmax(product).where(finite, 0.0).to(maps[0].dtype)
