"""Features that are laid out wrong, as far as their shape tells.

Features are ``(B, C, h, w)``. Maps with channels last and tokens have four axes too, once an axis
is added, and would be read as a few channels on a grid that no image has. A grid is that of the
same image as the CAM's if both are the image's size divided by a stride, rounded down or up. What
does not fit the CAM as it is read is refused only if another reading fits: a CAM may be resized to
a photograph of another shape, or have a stride of its own along each axis. A single cell under a
larger CAM is always refused: these are features after their pooling, and no map. So is attention,
``(B, heads, N, N)`` with 5 to 15 heads: no layer has so few channels at so fine a grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Grid = tuple[int, int]

_PREFIXES = (0, 1, 2, 4, 5)  # class, distillation and register tokens of the usual transformers
_LEAST_WIDTH = 16  # no usual layer has fewer channels
_HEADS = range(5, _LEAST_WIDTH)  # more than an image has channels, fewer than a layer
_MOST_HEADS = 24
_LEAST_SIDE = 7  # of a usual grid
_LEAST_CELLS = 49  # of a usual transformer's grid, 7 x 7
_WINDOWS = (49, 64, 144, 256)  # tokens of a window
_STRIDES = range(1, 65)
_USUAL_STRIDES = (1, 2, 4, 8, 16, 32)


def layout_error(shape: Sequence[int], cam: Grid) -> str | None:
    """Return how features ``(B, C, h, w)`` seem to be laid out instead and what to do, or None.

    Args:
        shape: their shape.
        cam: height and width of the CAM.

    Example:
        >>> layout_error((2, 384, 14, 14), (14, 14))
        >>> layout_error((2, 14, 14, 384), (14, 14))
        'channels last: use tokens_to_map(features) or features.permute(0, 3, 1, 2)'

    """
    _, channels, height, width = shape
    if height == width == 1 < max(cam):
        return "pooled features: use those before the pooling"
    count = _tokens(channels, height, width, cam)
    if count is not None:
        prefix = count - cam[0] * cam[1]
        found = f", num_prefix_tokens={prefix}" if prefix else ""
        return f"{count} tokens: use tokens_to_map(tokens{found}) of tokens (B, N, C)"
    if _swapped((height, width), cam):
        return "height and width swapped: use features.mT"
    if not same_image((height, width), cam) and _channels_last((channels, height), width, cam):
        return "channels last: use tokens_to_map(features) or features.permute(0, 3, 1, 2)"
    heads = _per_head(channels, height, width, cam)
    if heads is not None:
        return f"{heads}: use tokens_to_map(tokens) of tokens (B, N, C), with these joined"
    return None


def same_image(first: Grid, second: Grid, strides: Iterable[int] = _STRIDES) -> bool:
    """Return whether two grids can be those of one image at two strides, one a multiple of another.

    Example:
        >>> same_image((28, 40), (7, 10)), same_image((29, 41), (8, 11)), same_image((28, 28), (7, 10))
        (True, True, False)

    """  # noqa: E501
    return any(
        _is_multiple(fine, coarse, stride)
        for fine, coarse in ((first, second), (second, first))
        for stride in strides
    )


def _is_multiple(fine: Grid, coarse: Grid, stride: int) -> bool:
    """Return whether both sides of a grid are those of a coarser one, times a stride, rounded."""
    down = all(f // stride == c for f, c in zip(fine, coarse, strict=True))
    up = all(-(-f // stride) == c for f, c in zip(fine, coarse, strict=True))
    return down or up


def _near(fine: Grid, coarse: Grid) -> bool:
    """Return the same for the usual strides, with each side rounded in its own way."""
    return any(
        all(f // stride <= c <= -(-f // stride) for f, c in zip(fine, coarse, strict=True))
        for stride in (*_USUAL_STRIDES, 7)  # 14 over 2
    )


def _swapped(grid: Grid, cam: Grid) -> bool:
    """Return whether a grid lies across the CAM and would fit it with height and width swapped.

    Layers round the longer side of an image to no fewer cells than the shorter one, so two grids of
    one image never lie across each other. Very coarse ones may, with other padding.
    """
    across = (grid[0] - grid[1]) * (cam[0] - cam[1]) < 0
    if not across or min(*grid, *cam) < _LEAST_SIDE:
        return False
    turned = (grid[1], grid[0])
    return same_image(turned, cam) or _near(turned, cam) or _near(cam, turned)


def _channels_last(grid: Grid, channels: int, cam: Grid) -> bool:
    """Return whether ``(B, *grid, channels)`` fits the CAM and ``(grid[1], channels)`` does not."""
    if channels < _LEAST_WIDTH:
        return False
    read, last = (_distortion(one, cam) for one in ((grid[1], channels), grid))
    native = cam[0] <= grid[0] and cam[1] <= grid[1]
    if native and read > 1:
        return same_image(grid, cam, _USUAL_STRIDES)
    # A CAM that was resized to its photograph may have another shape than the network's input.
    long, short = max(grid[1], channels), min(grid[1], channels)
    return long >= 3 * short and read >= 3 and last <= 2


def _distortion(grid: Grid, cam: Grid) -> float:
    """Return the factor by which two aspects differ at least, each side being one off at most."""
    (least, most), (low, high) = _aspects(grid), _aspects(cam)
    return max(1.0, least / high, low / most)


def _aspects(grid: Grid) -> tuple[float, float]:
    height, width = grid
    return max(width - 1, 0.5) / (height + 1), (width + 1) / max(height - 1, 0.5)


def _tokens(channels: int, height: int, width: int, cam: Grid) -> int | None:
    """Return the number of tokens that one more axis hides: the CAM's cells and a prefix."""
    if min(cam) < 2:
        return None
    counts = [cam[0] * cam[1] + prefix for prefix in _PREFIXES]
    if channels == 1:  # tokens[:, None]; N and C may be about equal
        found = height in counts and width >= _LEAST_WIDTH
        exact = height % cam[0] == width % cam[1] == 0 and height // cam[0] == width // cam[1]
        return height if found and not exact and not _near((height, width), cam) else None
    if min(height, width) > 1 or _distortion((height, width), cam) == 1:
        return None
    # tokens[..., None], tokens[:, :, None], and the same with channels first. A strip of features,
    # pooled along one axis, is as long as a side of the CAM at a finer stride.
    long, side = (height, cam[0]) if width == 1 else (width, cam[1])
    if any(long // stride == side or -(-long // stride) == side for stride in (1, 2, 4, 8)):
        return None
    if long in counts and channels >= _LEAST_WIDTH:
        return long
    return channels if channels in counts and long >= _LEAST_WIDTH else None


def _per_head(channels: int, height: int, width: int, cam: Grid) -> str | None:
    """Return what tokens ``(heads, N, d)``, windows ``(W, N, C)`` or attention are, or None."""
    cells = cam[0] * cam[1]
    if cells < _LEAST_CELLS or min(*cam, channels, height, width) < 2:
        return None
    distortion = _distortion((height, width), cam)
    for count, other, axis in ((height, width, 0), (width, height, 1)):
        if distortion == 1 or other < _LEAST_WIDTH:
            continue
        prefix = count - cells
        # With a prefix, sides that are multiples of the CAM's are rather strides of their own.
        strides = prefix > 0 and count % cam[axis] == other % cam[1 - axis] == 0
        usual = prefix in _PREFIXES or (0 <= prefix <= 16 and channels <= _MOST_HEADS)
        if usual and not strides:
            return f"{count} tokens for each of {channels} heads"
        if count < _LEAST_WIDTH and distortion >= 3 and channels - cells in _PREFIXES:
            return f"{channels} tokens for each of {count} heads"
        joined = [cells * scale**2 for scale in (1, 2, 4, 8)]
        if axis == 0 and count in _WINDOWS and channels * count in joined:
            return f"{count} tokens for each of {channels} windows"
    attention = height == width and channels in _HEADS and height - cells in _PREFIXES
    if attention and not any(_padded(height, stride) == cam for stride in _USUAL_STRIDES):
        return f"attention between {height} tokens for each of {channels} heads"
    return None


def _padded(side: int, stride: int) -> Grid:
    """Return the grid of a square map after layers with padding."""
    return -(-side // stride), -(-side // stride)
