"""Pixel-adaptive mask refinement: maps are averaged over neighbors of similar color."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine._check import check_tensors
from wsolrefine._options import check_count, check_counts
from wsolrefine.functional._graphs import values_are_hidden
from wsolrefine.functional._grid import resize
from wsolrefine.functional._numeric import (
    balance,
    images_at_once,
    is_finite,
    largest,
    outside_autocast,
    split_images,
    within,
    working,
)
from wsolrefine.functional._pamr_windows import averaged_in_windows, color_scale
from wsolrefine.functional._windows import in_windows

_MOST_ITERATIONS = 1000
# On a GPU, windows save operations, and a neighbor at a time saves memory traffic: of more values
# than this, the traffic counts.
_MOST_IN_WINDOWS = 2**21


@outside_autocast
def pamr(
    maps: Tensor,
    image: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
) -> Tensor:
    """Draw maps to the edges of the image: each pixel becomes a mean of neighbors like itself.

    The neighbors of a pixel are the 8 around it at each of the ``dilations``; beyond the border the
    border is repeated. Repeat, with ``i`` a pixel and ``j`` its neighbors:

        m[i] = sum over j of a[i,j] m[j]
        a[i,.] = softmax over j of -10 * mean over colors c of |x[i,c] - x[j,c]| / s[i,c]

    with ``s[i,c]`` the standard deviation of the color over the neighbors and, once for each
    dilation, the pixel itself. The scale and offset of a color therefore do not matter. The factor
    10 is that of the authors' code; the paper divides by ``s`` squared.

    Args:
        maps: maps of any range, ``(B, H, W)`` or ``(B, K, H, W)``, resized bilinearly to the size
            of the image.
        image: the image in any range, with any number of colors, ``(B, C, H, W)``. Time and reach
            depend on its size: the papers' networks work on a fraction of it.
        iterations: number of averages; 0 returns the resized maps.
        dilations: distances of the neighbors in pixels, each >= 1.

    Returns:
        Maps within the range of ``maps``, at the size of the image, differentiable in ``maps``
        and, where no two colors are equal, in ``image``. Zero for maps that are not finite, and
        for all maps of an image that is not.

    Raises:
        TypeError: an input is not a floating-point tensor, dtypes differ, or an option is not an
            integer.
        ValueError: batch sizes or devices differ, ``iterations`` is not from 0 to 1000, or
            ``dilations`` is empty or holds a number below 1.

    Example:
        >>> import torch
        >>> image = torch.tensor([0.9, 0.9, 0.1, 0.1]).expand(1, 3, 1, 4)  # an edge in the middle
        >>> pamr(torch.tensor([[[1.0, 0.2, 0.4, 0.0]]]), image, dilations=(1,))
        tensor([[[0.6923, 0.6923, 0.1538, 0.1538]]])

    Reference:
        Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020,
        Sec. 3.3.

    """
    check_tensors(maps=(maps, "B [K] h w"), image=(image, "B C H W"))
    iterations = check_count("iterations", iterations, low=0, high=_MOST_ITERATIONS)
    steps = check_counts("dilations", dilations)
    size = (image.shape[-2], image.shape[-1])
    # What is not finite is replaced before any product, so that its gradient is zero, not NaN.
    usable = is_finite(image, (1, 2, 3))
    stacked = maps if maps.ndim == 4 else maps[:, None]
    finite = is_finite(stacked, (2, 3)) & usable[:, None]
    colors = working(image).where(usable[:, None, None, None], 0.0)
    peak = largest(colors)  # of each color, whose scale does not matter
    colors = colors / peak.where(peak > 0, 1.0)
    values = working(stacked).where(finite[..., None, None], 0.0)
    scale = balance(largest(values))
    values = values * scale
    low, high = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)

    number = values.shape[0] * values.shape[1] * size[0] * size[1]
    whole = in_windows(values, colors) and (values_are_hidden() or number <= _MOST_IN_WINDOWS)
    copies = 9 * colors.shape[1] if whole else 8
    at_once = images_at_once(copies * len(steps) * size[0] * size[1], image.device)
    blocks = [split_images(one, at_once) for one in (resize(values, size), colors)]
    averaged = averaged_in_windows if whole else _averaged
    refined = torch.cat(
        [averaged(some, of, iterations, steps) for some, of in zip(*blocks, strict=True)]
    )
    refined = within(refined, low, high) / scale
    refined = refined.where(finite[..., None, None], 0.0).to(maps.dtype)
    return refined if maps.ndim == 4 else refined[:, 0]


def _averaged(maps: Tensor, colors: Tensor, iterations: int, dilations: Sequence[int]) -> Tensor:
    weights = _weights(colors, dilations).unbind(1)
    for _ in range(iterations):
        total = torch.zeros_like(maps)
        for weight, neighbor in zip(weights, _neighbors(maps, dilations), strict=True):
            total.addcmul_(weight[:, None], neighbor)
        maps = total
    return maps


def _weights(colors: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the weight of each neighbor of each pixel, ``(B, 8 D, H, W)``."""
    total, squares = torch.zeros_like(colors), torch.zeros_like(colors)
    for neighbor in _neighbors(colors, dilations):
        apart = neighbor - colors  # the variance of differences does not cancel
        total, squares = total + apart, squares.addcmul(apart, apart)
    count = 9 * len(dilations)
    variance = (squares - total.square() / count) / (count - 1)
    scale = color_scale(variance)
    similar = [
        -((neighbor - colors).abs() * scale).sum(1) for neighbor in _neighbors(colors, dilations)
    ]
    return torch.stack(similar, 1).softmax(1)


def _neighbors(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Yield the maps ``(B, C, H, W)`` shifted to each neighbor, 8 for each dilation."""
    height, width = maps.shape[-2:]
    # From any pixel, the longest step within the image already ends at its border.
    most_down, most_right = (min(max(dilations), side - 1) for side in (height, width))
    padded = F.pad(maps, (most_right, most_right, most_down, most_down), mode="replicate")
    for step in dilations:
        for down, right in product((-1, 0, 1), repeat=2):
            if down or right:
                row = most_down + down * min(step, most_down)
                column = most_right + right * min(step, most_right)
                yield padded[..., row : row + height, column : column + width]
