"""Images of functions that follow the edges of a photograph."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

import wsolrefine as w
from drawings import panels as p

SIDE = 280  # longer side of the photographs: windows and distances count in pixels
THRESHOLD = 0.45


class Small(NamedTuple):
    """A photograph, small enough to see its pixels, and its map; B = 1."""

    shown: np.ndarray  # (H, W, 3) uint8
    image: Tensor  # (1, 3, H, W) in [0, 1]
    map: Tensor  # (1, H, W), of scg
    unary: Tensor  # (1, 2, H, W), equal where the map is THRESHOLD


def draw_conv_crf() -> None:
    panels: list[p.Panel] = []
    for row, name in enumerate((p.MOTORCYCLE, p.CUP)):
        small = shrunk(name)
        found = [w.conv_crf(small.unary, small.image)[:, 1], aligned(small)]
        titles = ("photograph", f"scg > {THRESHOLD}", "conv_crf > 0.5", "coarse to fine")
        masks = [small.map[0] > THRESHOLD, *(probability[0] > 0.5 for probability in found)]
        shown = [small.shown, *(_cut_out(small.shown, mask) for mask in masks)]
        for title, image in zip(titles, shown, strict=True):
            panels.append(p.picture(title if row == 0 else "", image))
    p.save("conv_crf", panels, columns=4, ratio=0.68)


def draw_pseudo_boundary() -> None:
    small = shrunk(p.MOTORCYCLE)
    probability = aligned(small)
    edges = torch.from_numpy(cv2.Canny(small.shown, 100, 200) > 0)
    contours = [
        w.pseudo_boundary(map, small.image, threshold=threshold, tolerance=0.0)[0]
        for map, threshold in ((small.map, THRESHOLD), (probability, 0.5))
    ]
    moved = w.pseudo_boundary(probability, small.image)[0]
    panels = [
        p.picture(f"scg > {THRESHOLD}: longest contour", _drawn(small.shown, contours[0])),
        p.picture("conv_crf > 0.5: longest contour", _drawn(small.shown, contours[1])),
        p.picture("Canny edges", _white(edges)),
        p.picture("pseudo_boundary", _drawn(small.shown, moved)),
    ]
    p.save("pseudo_boundary", panels, columns=2, cell=3.4, ratio=0.68)


def aligned(small: Small) -> Tensor:
    """Return the probability of the object, (1, H, W), from coarse to fine."""
    return w.coarse_to_fine(small.map, small.image, threshold=THRESHOLD)


def shrunk(name: str) -> Small:
    seen = p.look(name)
    scale = SIDE / max(seen.image.shape)
    size = round(seen.image.shape[1] * scale), round(seen.image.shape[0] * scale)
    shown = np.array(Image.fromarray(seen.image).resize(size, Image.Resampling.LANCZOS))
    map = torch.from_numpy(p.enlarge(w.scg(seen.cam, seen.both)[0], shown))[None]
    values = map.clamp(0.01, 0.99)
    unary = torch.stack([(1 - values).log(), values.log()], 1)
    unary[:, 1] -= torch.tensor(THRESHOLD).logit()
    return Small(shown, torch.from_numpy(shown).permute(2, 0, 1)[None] / 255, map, unary)


def _cut_out(image: np.ndarray, mask: Tensor) -> np.ndarray:
    """Make everything outside the mask pale."""
    pale = (0.2 * image + 0.8 * 245).astype(np.uint8)
    return np.where(mask[..., None].numpy(), image, pale)


def _drawn(image: np.ndarray, lines: Tensor) -> np.ndarray:
    """Draw a boundary, pixel by pixel, on a pale photograph."""
    drawn = _cut_out(image, torch.zeros_like(lines))
    drawn[lines.numpy()] = (200, 30, 30)
    return drawn


def _white(lines: Tensor) -> np.ndarray:
    return np.where(lines[..., None].numpy(), 235, 60).repeat(3, 2).astype(np.uint8)
