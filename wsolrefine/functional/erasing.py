"""ORNet's attentive erasing: hide part of a map's confident region, so that the rest is used."""

from __future__ import annotations

import torch
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_kind, check_number, check_numbers


def attentive_erasing(
    probability: Tensor,
    *,
    threshold: float = 0.5,
    drop: float = 0.5,
    size: tuple[float, float] = (0.1, 0.5),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Set random pixels around each map's peak to zero.

    A rectangle of random height and width is placed around the largest value (the first on ties)
    and clipped at the border. Each pixel in it above ``threshold`` becomes zero with probability
    ``drop``. Unlike in dropout, the other values are not scaled up. For training only.

    Args:
        probability: activation in [0, 1], ``(B, H, W)``.
        threshold: only pixels above it can be erased; ``probability`` is compared as it is. The
            paper gives no value; 0.5 is our choice.
        drop: probability that a candidate is erased.
        size: smallest and largest height and width of the rectangle as fractions of the map. Both
            are drawn uniformly and independently, and are at least one pixel. The paper gives no
            values; these are our choice.
        generator: source of the random numbers, on the map's device.

    Returns:
        A new map, same shape and dtype. Erased pixels have no gradient; the others pass it on.

    Raises:
        TypeError: ``probability`` is not a floating-point tensor, or an option is not a number.
        ValueError: it is not ``(B, H, W)``, ``threshold`` is NaN, ``drop`` is not in [0, 1],
            ``size`` is not a range within [0, 1], or ``generator`` is on another device.

    Example:
        >>> import torch
        >>> probability = torch.tensor([[[0.2, 0.9, 0.8, 0.6]]])
        >>> attentive_erasing(probability, drop=1.0, size=(0.5, 0.5))
        tensor([[[0.2000, 0.0000, 0.0000, 0.6000]]])

    Reference:
        Xie et al., "Online Refinement of Low-level Feature Based Activation Map for WSOL",
        ICCV 2021, Sec. 3.2.2.

    """
    check_tensors(probability=(probability, "B H W"))
    threshold = check_number("threshold", threshold, finite=False)
    drop = check_number("drop", drop, low=0, high=1)
    least, most = _check_range(size)
    if generator is not None:
        check_kind("generator", generator, torch.Generator, "a torch.Generator or None")
        if generator.device.type != probability.device.type:
            raise ValueError(
                f"generator: expected {probability.device} as probability, got {generator.device}"
            )
    count, height, width = probability.shape
    device = probability.device
    values = probability.detach()
    # Drawn in float32: half precision has too few steps.
    sides = (
        torch.rand(2, count, 1, generator=generator, device=device, dtype=torch.float32)
        * (most - least)
        + least
    )
    coins = torch.rand(values.shape, generator=generator, device=device, dtype=torch.float32)
    peak = values.flatten(1).argmax(1, keepdim=True)
    in_rows = _interval(peak // width, sides[0] * height, height)
    in_columns = _interval(peak % width, sides[1] * width, width)
    inside = in_rows[:, :, None] & in_columns[:, None, :]
    erased = inside & (values > threshold) & (coins < drop)
    return probability.masked_fill(erased, 0.0)


def _check_range(size: tuple[float, float]) -> tuple[float, float]:
    sides = check_numbers("size", size)
    if len(sides) != 2 or not 0 <= sides[0] <= sides[1] <= 1:
        raise ValueError(f"size: expected 0 <= least <= largest <= 1, got {size}")
    return sides[0], sides[1]


def _interval(center: Tensor, side: Tensor, length: int) -> Tensor:
    """Return which of ``length`` positions lie in an interval of whole pixels at each center."""
    pixels = side.round().clamp_min(1)
    offset = torch.arange(length, device=center.device) - center
    return (offset >= -((pixels - 1) // 2)) & (offset <= pixels // 2)
