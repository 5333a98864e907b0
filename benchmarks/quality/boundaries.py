"""Measure the boundaries of masks, with and without conv_crf and pseudo_boundary.

    python -m benchmarks.boundaries --scenes 249

On the composed photographs of benchmarks.quality, against the outlines of their true masks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.quality_maps import (
    CUT,
    DEFAULT,
    METHODS,
    Located,
    coarse_to_fine,
    locate,
    prepared,
)
from benchmarks.quality_report import save, table
from benchmarks.scenes import Scenes, load_sources
from wsolrefine import outline, pseudo_boundary
from wsolrefine.metrics import BoundaryScore

WRONG = 4  # pixels by which the true masks are too small or too large
COLUMNS = ("precision", "recall", "F", "IoU of the mask")


def sources(found: Located) -> Iterator[tuple[str, Tensor, float]]:
    """Yield a name, maps ``(N, SIDE, SIDE)`` and where to cut them."""
    yield f"scg > {CUT}", prepared(METHODS[DEFAULT](found)).float(), CUT
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * WRONG + 1, 2 * WRONG + 1))
    for change, name in ((cv2.erode, "small"), (cv2.dilate, "large")):
        maps = [
            # As soft as a map is: sure of itself only far from its border.
            cv2.GaussianBlur(change(mask.numpy().astype(np.float32), disc), (0, 0), WRONG)
            for mask in found.masks
        ]
        yield f"true mask, {WRONG} pixels too {name}", torch.from_numpy(np.stack(maps)), 0.5


def measure(maps: Tensor, cut: float, found: Located, tolerance: float) -> dict[str, float]:
    """Return precision, recall and F of the boundaries, all images' pixels together."""
    score = BoundaryScore(thresholds=(0.5,), suppress=False)
    for map, pixels, mask in zip(maps, found.images, found.masks, strict=True):
        boundary = pseudo_boundary(
            map[None], pixels[None] / 255, threshold=cut, tolerance=tolerance
        )
        score.update(boundary.float(), outline(mask[None]))
    result = score.compute()
    masks, true = maps > cut, found.masks > 0
    overlaps = (masks & true).sum((1, 2)) / (masks | true).sum((1, 2))
    figures = (result.precision, result.recall, result.ods, overlaps.mean())
    return dict(zip(COLUMNS, (figure.item() for figure in figures), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=249, help="of the test split")
    parser.add_argument("--folder", type=Path, help="where the packages are unpacked already")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    scenes = Scenes(load_sources(options.folder), "test", options.scenes, seed=options.seed)
    found = locate(scenes)
    rows: list[dict[str, str | float]] = []
    for name, maps, cut in sources(found):
        drawn = coarse_to_fine(maps, found.images, cut)
        for crf, some, threshold in (("", maps, cut), (", conv_crf", drawn, 0.5)):
            for edges, tolerance in (("contour of ", 0.0), ("pseudo_boundary of ", 5.0)):
                figures = measure(some, threshold, found, tolerance)
                rows.append({"method": f"{edges}{name}{crf}", **figures})
                print(f"\r{len(rows)}/12 rows", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(rows, COLUMNS))
    save(options.out, rows, {"test": scenes}, options.seed, name="boundaries", columns=COLUMNS)


if __name__ == "__main__":
    main()
