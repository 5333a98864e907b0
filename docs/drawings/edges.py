"""Images of the functions of lines, and of maps with holes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

import wsolrefine as w
from drawings import crf
from drawings import panels as p
from drawings.pixel_metrics import soft_edges
from wsolrefine.viz import overlay

ZOOM = (60, 80, 130, 180)  # rows and columns of the small motorcycle: the engine and the rear wheel


def draw_thin() -> None:
    mask = _horse()
    lines = w.thin(mask)
    panels = [p.picture("mask", _shown(mask)), p.picture("thin", _shown(lines, mask))]
    p.save("thin", panels, cell=2.7, ratio=0.82, most=25_000)


def draw_outline() -> None:
    mask = _horse()
    lines = w.outline(mask.byte())
    panels = [p.picture("mask", _shown(mask)), p.picture("outline", _shown(lines, mask))]
    p.save("outline", panels, cell=2.7, ratio=0.82, most=25_000)


def draw_suppress_non_maxima() -> None:
    small = crf.shrunk(p.MOTORCYCLE)
    edges = soft_edges(small.shown, torch.ones_like(small.map[0]))
    ridges = w.suppress_non_maxima(edges)
    top, left, bottom, right = ZOOM
    maps = {"soft edges": edges, "ridges": ridges}
    panels = [p.picture("photograph", small.shown[top:bottom, left:right])]
    for title, map in maps.items():
        panels.append(p.picture(title, _gray(map[0, top:bottom, left:right])))
    p.save("suppress_non_maxima", panels, cell=1.9, ratio=0.7, most=30_000)


def draw_attentive_erasing() -> None:
    seen = p.look(p.MOTORCYCLE)
    map = w.scg(seen.cam, seen.both)
    panels = [p.picture("map", _cells_over(seen.image, map[0]))]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        erased = w.attentive_erasing(map, generator=generator)
        panels.append(p.picture(f"erased, seed {seed}", _cells_over(seen.image, erased[0])))
    p.save("attentive_erasing", panels, columns=2, cell=2.6, ratio=0.7, most=40_000)


def _horse() -> Tensor:
    """Return the silhouette in small, (1, H, W) bool."""
    gray = p.photograph("horse.png")[..., 0]
    small = cv2.resize(gray, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small < 128)[None]


def _shown(lines: Tensor, behind: Tensor | None = None) -> np.ndarray:
    """Show a mask, or lines on a pale mask, each pixel as a square."""
    shown = np.full((*lines.shape[1:], 3), 255, np.uint8)
    if behind is not None:
        shown[behind[0].numpy()] = (206, 212, 218)
    shown[lines[0].numpy()] = (60, 60, 60) if behind is None else (200, 30, 30)
    return shown.repeat(4, 0).repeat(4, 1)


def _gray(map: Tensor) -> np.ndarray:
    shown = (255 * map[..., None]).byte().expand(-1, -1, 3).numpy()
    return shown.repeat(4, 0).repeat(4, 1)


def _cells_over(image: np.ndarray, map: Tensor) -> np.ndarray:
    """Lay a map over its photograph, each cell with sharp borders."""
    size = image.shape[1::-1]
    return overlay(image, cv2.resize(map.numpy(), size, interpolation=cv2.INTER_NEAREST), 0.6)
