"""Infer the layout of a layer's output from its shape: channels first, channels last, tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from torch import Tensor

from wsolrefine.functional.tokens import tokens_to_map

Read = Callable[[Tensor], Tensor | None]
"""A layer's output to a map ``(B, C, h, w)``, or None if it has no grid."""

_MOST_PREFIX_TOKENS = 16


def lay_out(tensor: Tensor, image_size: tuple[int, int]) -> Tensor | None:
    """Return a layer's output as a view (B, C, h, w), or None if it has no grid.

    A grid is the image size divided by an integer stride, both sides rounded down or both up.
    ``(B, a, b, c)`` has its channels last if ``a x b`` is such a grid and ``b x c`` is not.
    ``(B, N, C)`` are tokens if N = prefix + h * w with such a grid and at most 16 prefix tokens.
    Grids of a stride that divides the image are preferred, then the fewest prefix tokens.
    """
    if not tensor.is_floating_point() or 0 in tensor.shape[1:]:
        return None
    if tensor.ndim == 4:
        first, second, third = tensor.shape[1:]
        grids = _grids(image_size)
        channels_last = (first, second) in grids and (second, third) not in grids
        return tokens_to_map(tensor) if channels_last else tensor
    if tensor.ndim == 3:
        grid = _token_grid(tensor.shape[1], image_size)
        if grid is not None:
            prefix = tensor.shape[1] - grid[0] * grid[1]
            return tokens_to_map(tensor, grid=grid, num_prefix_tokens=prefix)
    return None


def reader(image_size: tuple[int, int], to_map: Callable[[Tensor], Tensor] | None) -> Read:
    """Return a function that lays out any layer's output by ``to_map``, or else by its shape."""

    def read(tensor: Tensor) -> Tensor | None:
        if to_map is None:
            return lay_out(tensor, image_size)
        try:
            maps = to_map(tensor)
        except Exception:  # it need not take every layer's output
            return None
        is_map = isinstance(maps, Tensor) and maps.ndim == 4 and maps.is_floating_point()
        return maps if is_map and 0 not in maps.shape[1:] else None

    return read


def laid_out(
    name: str,
    tensor: Tensor,
    image_size: tuple[int, int],
    to_map: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the output of the layer of that name as a view (B, C, h, w), or raise."""
    maps = to_map(tensor) if to_map is not None else lay_out(tensor, image_size)
    if maps is None:
        raise ValueError(
            f"layers: expected a map or tokens from {name!r} (or to_map to lay them out), "
            f"got shape {tuple(tensor.shape)}"
        )
    return maps


def fits(grid: tuple[int, int], image_size: tuple[int, int]) -> bool:
    """Return whether a grid of more than one cell has the image's aspect, to within one cell."""
    (rows, columns), (height, width) = grid, image_size
    near = abs(rows * width - columns * height) < max(height, width)
    return near and rows <= height and columns <= width and rows * columns > 1


@lru_cache(maxsize=1024)
def _token_grid(count: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the grid that fits that many tokens best."""
    fitting = [
        (not exact, count - h * w, h, w)
        for (h, w), exact in _grids(image_size).items()
        if h * w > 1 and 0 <= count - h * w <= _MOST_PREFIX_TOKENS
    ]
    return min(fitting)[2:] if fitting else None


@lru_cache(maxsize=16)
def _grids(image_size: tuple[int, int]) -> dict[tuple[int, int], bool]:
    """Return the grids of all strides, and whether the stride divides the image."""
    height, width = image_size
    grids: dict[tuple[int, int], bool] = {}
    for stride in range(1, max(height, width) + 1):
        down, up = (height // stride, width // stride), (-(-height // stride), -(-width // stride))
        for grid in (down, up):
            if min(grid) > 0:
                grids[grid] = grids.get(grid, False) or down == up
    return grids
