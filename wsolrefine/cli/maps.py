"""From features and a CAM to the refined map of a method, and from there to mask and box."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch.nn.functional as F
from torch import Tensor

from wsolrefine import confseg, gppl, scg, sem
from wsolrefine.functional.components import largest_component

MASK_SIZE = 1024
"""Masks are cut out at this many pixels on the longer side at most, and enlarged from there: a map
of 14x14 cells holds nothing finer, and a photograph of 100 megapixels needs no 800 MB of labels."""


class Method(StrEnum):
    """The refinements that ``refine --method`` offers; ``cam`` is the map as it was, to compare."""

    scg = "scg"
    sem = "sem"
    gppl = "gppl"
    confseg = "confseg"
    cam = "cam"


class Parts(StrEnum):
    """What becomes of a mask in several pieces."""

    largest = "largest"
    all = "all"


THRESHOLDS = {
    Method.scg: 0.35,
    Method.sem: 0.4,
    Method.gppl: 0.5,
    Method.confseg: 0.75,
    Method.cam: 0.5,
}
"""Above which value a pixel is object: for each method about the best single value on the
validation scenes of ``python -m benchmarks.quality --thresholds``. For SCG 0.34 to 0.54 are as good
there; on the demo's photographs, whose objects are larger, the lower end is."""


def _confseg(cam: Tensor, features: list[Tensor]) -> Tensor:
    split = confseg(cam)
    return (split.foreground.to(cam.dtype) + (~split.background).to(cam.dtype)) / 2


def _sem(cam: Tensor, features: list[Tensor]) -> Tensor:
    layer = features[-1]
    # The share of the paper, 60 seeds on 28x28 cells: 60 on a coarser grid reach all of it.
    seeds = max(1, round(layer.shape[-2] * layer.shape[-1] * 60 / 28**2))
    return sem(cam, layer, num_seeds=seeds)


REFINE: dict[Method, Callable[[Tensor, list[Tensor]], Tensor]] = {
    Method.scg: lambda cam, features: scg(cam, features),
    Method.sem: _sem,
    Method.gppl: lambda cam, features: gppl(cam),
    Method.confseg: _confseg,
    Method.cam: lambda cam, features: cam,
}
"""(B, K, H, W) CAM and features of several layers -> (B, K, h, w) map in [0, 1].

SCG takes all layers together, SEM the last of them, as their papers do. ConfSeg gives three levels:
1 foreground, 0 background, 0.5 undecided."""


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(K, H, W)`` to ``size`` (height, width), bilinear, as float32 on the CPU."""
    maps = maps.detach().float().cpu()
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def cut_out(maps: Tensor, threshold: float, parts: Parts = Parts.largest) -> Tensor:
    """Make masks of maps ``(K, H, W)``: the pixels above the threshold, or their largest piece.

    Pieces touch at sides and corners; of two of the same size the first in reading order stays.

    Example:
        >>> import torch
        >>> cut_out(torch.tensor([[[0.9, 0.1, 0.9, 0.8]]]), 0.5).int()
        tensor([[[0, 0, 1, 1]]], dtype=torch.int32)

    """
    mask = maps > threshold
    return mask if parts is Parts.all else largest_component(mask)


def mask_size(width: int, height: int) -> tuple[int, int]:
    """Give the (height, width) at which the mask of an image is cut out."""
    scale = min(1.0, MASK_SIZE / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))
