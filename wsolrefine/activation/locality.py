"""Whether a map changes where the image changes."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.activation.edges import EDGES, edge_masks, unread_edge
from wsolrefine.functional._numeric import working

PARTS = 4
"""The image is changed in one of 4 x 4 parts at a time."""

NOISE = 2
"""Number of images of noise before the changed ones."""

PROBES = NOISE + PARTS**2 + len(EDGES)
"""Number of images of the probe."""

ELSEWHERE = "changed where the image did not"
"""How the faults begin of a grid whose cells are not those of the image."""

_CELLS = 16  # a finer grid is averaged to this many cells a side
_NUMBERS = 2048  # are kept of a map: more channels are projected to as many as that allows
_SHARE = 14 / 16  # of the parts that must be found again
_CORRELATION = 0.3  # of the places of the change with the parts, on fewer than 4 cells a side


def probe_images(images: Tensor) -> Tensor:
    """Return noise like the images: two of them, and the first with one part after the other new.

    Shape, dtype and device are those of ``images``. Parts are in raster order, the pixels at two
    edges follow. A changed part is brighter too, because noise alone is averaged away by deep
    layers.
    """
    shape = (1, *images.shape[1:])
    generator = torch.Generator().manual_seed(0)
    first, second, other = (torch.randn(shape, generator=generator) for _ in range(3))
    masks = [*_parts(shape[2], shape[3]), *edge_masks(shape[2], shape[3])]
    changed = [first.where(~mask, other + 2) for mask in masks]
    return torch.cat([first, second, *changed]).to(images.device, images.dtype)


def sketch(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Reduce maps ``(B, C, h, w)`` to a few numbers for each cell, and for each side of the border.

    A random projection of the channels keeps the size of a change, the better the fewer cells.

    Returns:
        ``(B, c, m, n)`` with m and n at most 16, and ``(B, c, 4)``: top, bottom, left, right.

    """
    maps = working(maps)
    height, width = maps.shape[-2:]
    size = (min(height, _CELLS), min(width, _CELLS))
    kept = max(_CELLS, _NUMBERS // (size[0] * size[1]))
    if maps.shape[1] > kept:  # before the means, which cost more than the product
        signs = _signs(kept, maps.shape[1]).to(maps)
        maps = (signs @ maps.flatten(2)).reshape(len(maps), kept, height, width)
    sides = (maps[..., 0, :], maps[..., -1, :], maps[..., 0], maps[..., -1])
    border = torch.stack([side.mean(-1) for side in sides], -1)
    return F.adaptive_avg_pool2d(maps, size), border


def fault(cells: Tensor, border: Tensor, image_size: tuple[int, int]) -> str | None:
    """Return why the sketches of the probe's images are not those of a map; None if they are."""
    if not (cells.isfinite().all() and border.isfinite().all()):
        return "not finite"
    rounding = 1e-6 * float(cells.abs().max())
    if float((cells[1] - cells[0]).abs().max()) <= rounding:
        return "the same for every image"
    if float((border - border[0]).abs().amax((0, 1)).min()) <= rounding:
        return "padded: a side of the border is the same for every image"
    cells, border = cells[NOISE:] - cells[0], border[NOISE:] - border[0]
    edge = unread_edge(cells[PARTS**2 :], border[PARTS**2 :], rounding)
    if edge is not None:
        return f"independent of the {edge} edge of the image (does the model crop it?)"
    share = _shares(cells[: PARTS**2].double().square().sum(1))
    possible = _possible(*image_size)
    found = [there for there, some in zip(_found(share), possible, strict=True) if some]
    if sum(found) < ceil(_SHARE * len(found)):
        return f"{ELSEWHERE} ({len(found) - sum(found)} of {len(found)} parts)"
    side = _wrapped(share, border[: PARTS**2])
    return f"{ELSEWHERE} (the {side} border is from the opposite side)" if side else None


def _shares(change: Tensor) -> Tensor:
    """Return the changes ``(16, h, w)`` with equal sums over the parts and over the cells.

    Some cells respond more than others, and what mixes globally adds something everywhere.
    """
    share, tiny = change, torch.finfo(change.dtype).tiny
    for _ in range(8):
        share = share / share.sum(0).clamp_min(tiny)
        share = share / share.sum((1, 2), keepdim=True).clamp_min(tiny)
    return share


def _found(share: Tensor) -> list[bool]:
    """Return for each part whether the change is where the part is, along both axes."""
    found = share.flatten(1).any(1)
    peaks = share.flatten(1).argmax(1)
    width = share.shape[2]
    for axis, peak, part in (
        (1, peaks // width, torch.arange(PARTS**2) // PARTS),
        (2, peaks % width, torch.arange(PARTS**2) % PARTS),
    ):
        cells = share.shape[axis]
        if cells >= PARTS:
            found = found & _within(peak.cpu(), part, cells).to(found)
        elif cells > 1:
            # Cells that hold several parts: it is enough that the change moves with the part.
            place = share.sum(3 - axis).cpu() @ torch.arange(cells, dtype=share.dtype)
            together = torch.corrcoef(torch.stack([place, part.to(place)]))[0, 1]
            found = found & bool(together > _CORRELATION)
    return [bool(there) for there in found]


def _wrapped(share: Tensor, change: Tensor) -> str | None:
    """Return the side of the border that changes with the opposite side of the image, if any.

    Tokens that are laid out one too early move by one cell, too little to be seen in the parts. But
    each row then ends with the first cell of the next.
    """
    border = change.double().square().sum(1)  # (16, 4)
    sides = _shares(border[..., None])[..., 0].unbind(1)
    strips = (share[:, 0], share[:, -1], share[..., 0], share[..., -1])
    for at, name in enumerate(("top", "bottom", "left", "right")):
        axis, high = divmod(at, 2)
        cells = share.shape[1 + axis]
        if cells < PARTS:
            continue
        # Cells that were averaged do not show their border.
        side = strips[at].sum(1) if cells < _CELLS else sides[at]
        place = torch.arange(PARTS**2, device=side.device) // (1 if axis else PARTS) % PARTS
        near = PARTS - 1 if high else 0
        if side[place == near].sum() <= side[place == PARTS - 1 - near].sum():
            return name
    return None


def _within(cell: Tensor, part: Tensor, cells: int) -> Tensor:
    """Return whether the centers of cells are in their parts, or at most half a cell beside them.

    Cells of a strided convolution are centered up to half a cell towards the first one.
    """
    beside = cell - part * cells / PARTS  # from the low side of the part to that of the cell
    return torch.logical_and(torch.ge(beside, -1), torch.le(beside, cells / PARTS))


def _parts(height: int, width: int) -> list[Tensor]:
    """Return masks of the 4 x 4 parts, empty ones for an image of fewer pixels."""
    rows = torch.arange(height)[:, None] * PARTS // height
    columns = torch.arange(width) * PARTS // width
    return [(rows == i) & (columns == j) for i in range(PARTS) for j in range(PARTS)]


@lru_cache(maxsize=16)
def _possible(height: int, width: int) -> list[bool]:
    """Return for each part whether it has a pixel."""
    return [bool(part.any()) for part in _parts(height, width)]


@lru_cache(maxsize=64)
def _signs(kept: int, channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    signs = torch.randint(0, 2, (kept, channels), generator=generator).float() * 2 - 1
    return signs / float(kept**0.5)
