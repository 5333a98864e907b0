"""Pictures of what follows the edges of a photograph."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import wsolrefine as w
from drawings import panels as p
from wsolrefine.functional.conv_crf import conv_crf
from wsolrefine.functional.pseudo_boundary import pseudo_boundary

SIDE = 280  # longer side of the photographs: windows and distances count in pixels
CUT = 0.45


class Small(NamedTuple):
    """A photograph brought to a size at which pixels can be seen, and its map; B = 1."""

    shown: np.ndarray  # (H, W, 3) uint8
    image: Tensor  # (1, 3, H, W) in [0, 1]
    map: Tensor  # (1, H, W), of scg
    unary: Tensor  # (1, 2, H, W), zero where the map is CUT


def draw_conv_crf() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CUP)):
        small = _small(name)
        found = [conv_crf(small.unary, small.image), coarse_to_fine(small.unary, small.image)]
        titles = ("photograph", f"scg > {CUT}", "conv_crf > 0.5", "coarse to fine")
        masks = [small.map[0] > CUT, *(probability[0, 1] > 0.5 for probability in found)]
        shown = [small.shown, *(_cut_out(small.shown, mask) for mask in masks)]
        for title, image in zip(titles, shown, strict=True):
            panels.append(p.picture(title if row == 0 else "", image))
    p.save("conv_crf", panels, columns=4, ratio=0.68)


def draw_pseudo_boundary() -> None:
    small = _small(p.MOTORCYCLE)
    probability = coarse_to_fine(small.unary, small.image)[:, 1]
    edges = torch.from_numpy(cv2.Canny(small.shown, 100, 200) > 0)
    contours = [
        pseudo_boundary(map, small.image, threshold=cut, tolerance=0.0)[0]
        for map, cut in ((small.map, CUT), (probability, 0.5))
    ]
    moved = pseudo_boundary(probability, small.image)[0]
    panels = [
        p.picture(f"scg > {CUT}: longest contour", _drawn(small.shown, contours[0])),
        p.picture("conv_crf > 0.5: longest contour", _drawn(small.shown, contours[1])),
        p.picture("Canny edges", _white(edges)),
        p.picture("pseudo_boundary", _drawn(small.shown, moved)),
    ]
    p.save("pseudo_boundary", panels, columns=2, cell=3.4, ratio=0.68)


def coarse_to_fine(unary: Tensor, image: Tensor) -> Tensor:
    """The snippet of the page conv_crf.md."""
    for scale in (4, 2, 1):
        size = [-(-side // scale) for side in image.shape[-2:]]
        small = [F.interpolate(t, size, mode="bilinear", antialias=True) for t in (unary, image)]
        probability = conv_crf(*small, kernel_size=11)
        unary = F.interpolate(probability.clamp(1e-4).log(), image.shape[-2:], mode="bilinear")
    return probability


def _small(name: str) -> Small:
    seen = p.look(name)
    scale = SIDE / max(seen.image.shape)
    size = round(seen.image.shape[1] * scale), round(seen.image.shape[0] * scale)
    shown = np.array(Image.fromarray(seen.image).resize(size, Image.Resampling.LANCZOS))
    map = torch.from_numpy(p.enlarge(w.scg(seen.cam, seen.both)[0], shown))[None]
    sure = map.clamp(0.01, 0.99)
    unary = torch.stack([(1 - sure).log(), sure.log()], 1)
    unary[:, 1] -= torch.tensor(CUT).logit()
    return Small(shown, torch.from_numpy(shown).permute(2, 0, 1)[None] / 255, map, unary)


def _cut_out(image: np.ndarray, mask: Tensor) -> np.ndarray:
    """Leave what is outside of the mask pale."""
    pale = (0.2 * image + 0.8 * 245).astype(np.uint8)
    return np.where(mask[..., None].numpy(), image, pale)


def _drawn(image: np.ndarray, lines: Tensor) -> np.ndarray:
    """Draw a boundary, pixel by pixel, on a pale photograph."""
    drawn = _cut_out(image, torch.zeros_like(lines))
    drawn[lines.numpy()] = (200, 30, 30)
    return drawn


def _white(lines: Tensor) -> np.ndarray:
    return np.where(lines[..., None].numpy(), 235, 60).repeat(3, 2).astype(np.uint8)
