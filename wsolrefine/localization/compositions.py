"""Refinements that are composed of several functions: ``fast``, ``balanced``, ``accurate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsolrefine.functional._grid import limited_grid, limited_size, resize
from wsolrefine.functional._numeric import working
from wsolrefine.functional.affinity import on_grid
from wsolrefine.functional.boxes import largest_box
from wsolrefine.functional.fusion import multiply_maps
from wsolrefine.functional.label_spreading import label_spreading
from wsolrefine.functional.normalize import minmax
from wsolrefine.functional.pamr import pamr
from wsolrefine.functional.scg import scg

# All constants were chosen on tuning photographs and validation scenes together.
_POWERS = (1.0, 0.5)  # of label spreading and of PAMR in their product
_ITERATIONS, _DILATIONS = 5, (1, 2, 4, 8, 12)  # of PAMR; more of either gained nothing
_PAMR_SIDE = 96  # longer side in pixels of the image that PAMR works on
_FAST_CELLS, _FAST_SIDE = 400, 56  # of the grid of label spreading, and of the image of PAMR
_ACCURATE_SIDE = 224  # longer side in pixels of the image that the mean of its maps is drawn to
_LARGER = 1.5  # times the size of the images, to see them again
_LARGER_WEIGHT = 1.5  # of the maps of larger images in the mean
_CROP_THRESHOLD, _CROP_MARGIN = 0.15, 0.15  # of the box; the margin is a share of it
_LEAST_CROP = 2 / 7  # of a side of the image


def start_map(cam: Tensor, finer: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Add the mean of finer maps to the CAM: they show where the evidence is.

    ``minmax(cam + mean of finer)``, each resized to one grid first.

    Args:
        cam: in [0, 1], ``(B, K, h, w)``.
        finer: LayerCAMs or BagCAMs of finer layers, each in [0, 1], ``(B, K, h, w)`` on any grid.
        size: (height, width) of the grid, usually that of the finest features.

    Returns:
        Maps in [0, 1], ``(B, K, *size)``.

    """
    total = resize(working(cam), size)
    for one in finer:
        total = total + resize(working(one), size) / len(finer)
    return minmax(total).to(cam.dtype)


def fast(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """Multiply label spreading by SCG that PAMR has drawn to the edges, both on small grids.

    Like :func:`wsolrefine.localization.balanced` at less cost: label spreading on 400 cells, PAMR
    at 56 pixels, and from the CAM alone, without gradients.

    Args:
        cam: in [0, 1], ``(B, K, h, w)``.
        features: layers ``(B, C, h, w)`` from fine to coarse.
        images: ``(B, 3, H, W)`` as the model gets them.

    Returns:
        Maps in [0, 1], ``(B, K, h, w)``, 56 pixels on the longer side.

    """
    return _product(cam, features, images, _FAST_SIDE, size=limited_grid(features, _FAST_CELLS))


def balanced(cam: Tensor, features: Sequence[Tensor], images: Tensor) -> Tensor:
    """Multiply label spreading by SCG that PAMR has drawn to the edges of the image.

    ``minmax(W * P^0.5)`` with ``W = label_spreading(cam, features, images)`` and
    ``P = pamr(scg(cam, features), images)`` at 96 pixels: the first tells object from background,
    the second follows the outline. Both W and SCG work on at most 784 cells.

    Args:
        cam: the start map in [0, 1], ``(B, K, h, w)``, see
            :func:`wsolrefine.localization.start_map`; a CAM alone does too.
        features: layers ``(B, C, h, w)`` from fine to coarse.
        images: ``(B, 3, H, W)`` as the model gets them.

    Returns:
        Maps in [0, 1], ``(B, K, h, w)``, 96 pixels on the longer side.

    """
    return _product(cam, features, images, _PAMR_SIDE)


def accurate(
    maps: Tensor, images: Tensor, see: Callable[[Tensor], Tensor], *, crop: bool
) -> Tensor:
    """Average the maps of images with those of the same images seen larger, and draw them to edges.

    The images are seen again at 1.5 times their size, and these maps count 1.5 times. With
    ``crop``, for a model of one input size, the part around the object that a map shows is enlarged
    to the size of the image instead; its map is pasted where it was, zero outside, and counts once.
    :func:`wsolrefine.pamr` at 224 pixels draws the mean to the edges of the image.
    ``Localizer(refine="accurate")`` makes both maps with :func:`wsolrefine.localization.balanced`.

    Args:
        maps: in [0, 1], ``(B, h, w)``, what ``see`` gives for the images.
        images: ``(B, 3, H, W)`` as the model gets them.
        see: images to maps ``(B, h, w)`` on any grid, of the same classes.
        crop: whether crops are seen instead of larger images.

    Returns:
        Maps in [0, 1], ``(B, h, w)``, 224 pixels on the longer side or those of the image if it
        has fewer. A map that is zero stays zero.

    """
    size = (images.shape[-2], images.shape[-1])
    if not len(images):
        return maps.new_zeros(0, *limited_size(size, _ACCURATE_SIDE))
    whole = _smooth(maps, size)
    if crop:
        boxes = _around(largest_box(whole > _CROP_THRESHOLD), _CROP_MARGIN, size)
        parts = [
            image[None, :, y0:y1, x0:x1]
            for image, (x0, y0, x1, y1) in zip(images, boxes, strict=True)
        ]
        again = torch.zeros_like(whole)
        of_parts = working(see(torch.cat([resized(part, size) for part in parts])))
        for pasted, map, (x0, y0, x1, y1) in zip(again, of_parts, boxes, strict=True):
            pasted[y0:y1, x0:x1] = resize(map[None], (y1 - y0, x1 - x0))[0]
    else:
        again = _LARGER_WEIGHT * _smooth(see(resized(images, larger(size))), size)
    found = whole.amax((-2, -1), keepdim=True) > 0
    mean = (whole + again).where(found, 0.0)
    drawn = _drawn(mean[:, None], images.to(mean.dtype), _ACCURATE_SIDE)[:, 0]
    return minmax(drawn).to(maps.dtype)


def larger(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which :func:`accurate` sees an image of this size again."""
    return round(_LARGER * size[0]), round(_LARGER * size[1])


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images ``(B, C, H, W)``, bilinear, so that no value leaves the range they have."""
    return F.interpolate(working(images), size=size, mode="bilinear", antialias=True).to(images)


def _smooth(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(B, h, w)`` bicubically; bilinear resizing would flatten their peaks."""
    values = working(maps)[:, None]
    return F.interpolate(values, size=size, mode="bicubic")[:, 0].clamp(0, 1)


def _product(
    cam: Tensor,
    features: Sequence[Tensor],
    images: Tensor,
    side: int,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Multiply label spreading on a grid by SCG, drawn to the edges of images of a longer side."""
    spread = label_spreading(cam, features, images, size=size)
    height, width = limited_grid(features)  # time grows with the square of the cells
    coarse = [on_grid(f, (min(f.shape[-2], height), min(f.shape[-1], width))) for f in features]
    return multiply_maps([spread, _drawn(scg(cam, coarse), images, side)], powers=_POWERS)


def _drawn(maps: Tensor, images: Tensor, side: int) -> Tensor:
    """Draw maps to the edges of images of at most ``side`` pixels on the longer side."""
    return pamr(maps, _shrink(images, side), iterations=_ITERATIONS, dilations=_DILATIONS)


def _around(boxes: Tensor, margin: float, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return boxes ``x0 y0 x1 y1``, enlarged by a margin on each side, in whole pixels of an image.

    None is smaller than 2/7 of a side; one without pixels becomes the whole image.
    """
    limits = boxes.new_tensor(size[::-1])
    low, high = boxes[..., :2], boxes[..., 2:]
    sides = ((high - low) * (1 + 2 * margin)).maximum(limits * _LEAST_CROP)
    sides = sides.where(high > low, 2 * limits)
    center = (low + high) / 2
    low = (center - sides / 2).clamp_min(0).minimum(limits)
    high = (center + sides / 2).minimum(limits)
    found: list[list[int]] = torch.cat([low.floor(), high.ceil()], -1).long().tolist()
    return [tuple(box) for box in found]


def _shrink(images: Tensor, side: int) -> Tensor:
    """Return images of at most ``side`` pixels on the longer side, averaged where they shrink."""
    given = (images.shape[-2], images.shape[-1])
    size = limited_size(given, side)
    return images if size == given else resized(images, size)
