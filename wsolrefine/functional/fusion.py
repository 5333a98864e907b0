"""Fusion of maps of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_numbers, kind_of
from wsolrefine.functional._grid import largest_grid, resize
from wsolrefine.functional._numeric import is_finite, raised, working
from wsolrefine.functional.normalize import minmax


def multiply_maps(maps: Sequence[Tensor], *, powers: Sequence[float] | None = None) -> Tensor:
    """Multiply maps of several layers: only what is strong in all of them remains.

    Every map is resized bilinearly (align_corners=False) to the largest grid and raised to its
    power; the product is min-maxed. With powers it is a weighted geometric mean. SPOL multiplies
    feature maps inside the network before its classifier; this is the same fusion for finished
    maps. As there, zero means nothing: the scale of a map does not matter, but its offset does.
    Min-max a map first (:func:`wsolrefine.minmax`) if its zero has no meaning.

    Args:
        maps: list of ``(B, H, W)`` or of ``(B, K, H, W)``, each with its own height and width;
            negative values count as zero, because the product of two would be positive.
        powers: a number > 0 for each map; None: all 1. The smaller the power, the less a map
            counts.

    Returns:
        Maps in [0, 1] on the largest grid, ``(B, H, W)`` or ``(B, K, H, W)``, differentiable; at a
        zero under a power below 1, where the slope is infinite, the gradient is zero. A map that is
        not finite in one of the layers is zero.

    Raises:
        TypeError: a map is not a floating-point tensor, dtypes differ, or a power is no number.
        ValueError: the list is empty, batch sizes, K or devices differ, there are more or fewer
            powers than maps, or a power is not finite and > 0.

    Example:
        >>> import torch
        >>> multiply_maps([torch.tensor([[[0.0, 0.5, 1.0]]]), torch.tensor([[[1.0, 1.0, 0.5]]])])
        tensor([[[0., 1., 1.]]])
        >>> multiply_maps([torch.tensor([[[0.0, 0.25, 1.0]]])], powers=[0.5])
        tensor([[[0.0000, 0.5000, 1.0000]]])

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
    exponents = [1.0] * len(maps) if powers is None else _check_powers(powers, len(maps))
    size = largest_grid(maps)
    finite = torch.stack([is_finite(one, (-2, -1)) for one in maps]).all(0)[..., None, None]
    product = torch.ones((), dtype=working(maps[0]).dtype, device=maps[0].device)
    for one, exponent in zip(maps, exponents, strict=True):
        positive = working(one).clamp_min(0)
        # A peak of 1 keeps the product of any number of maps within range.
        peak = positive.detach().amax((-2, -1), keepdim=True)
        factor = resize(positive / peak.where(peak > 0, 1.0), size)
        product = product * raised(factor, exponent)
    return minmax(product).where(finite, 0.0).to(maps[0].dtype)


def _check_powers(powers: Sequence[float], count: int) -> list[float]:
    values = check_numbers("powers", powers, above=0)
    if len(values) != count:
        raise ValueError(f"powers: expected {count} as there are maps, got {len(values)}")
    return values
