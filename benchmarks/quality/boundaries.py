"""Measure the boundaries of masks, with and without conv_crf and pseudo_boundary.

    python -m benchmarks.boundaries --scenes 249

On the scenes of benchmarks.quality, against the outlines of their true masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.common import RESULTS, origin, show_progress
from benchmarks.quality.images import Composites
from benchmarks.quality.measure import prepared
from benchmarks.quality.network import Network, batches, labels_of
from benchmarks.quality.report import record_of, render, save, splits_of
from benchmarks.quality.rows import aligned, method
from benchmarks.scenes import Scenes, load_sources
from wsolrefine import outline, pseudo_boundary
from wsolrefine.metrics import BoundaryScore
from wsolrefine.models import DEFAULT_CLASSIFIER

THRESHOLD = 0.45  # of scg, and of conv_crf on it: the best MaxBoxAccV2 on validation scenes
WRONG = 4  # pixels by which the true masks are too small or too large


COLUMNS = ("precision", "recall", "F", "IoU of the mask")


class Located(NamedTuple):
    """The maps of scg, and the ground truth."""

    maps: Tensor  # (N, SIDE, SIDE)
    colors: Tensor  # (N, 3, SIDE, SIDE) in [0, 1]
    masks: Tensor  # (N, SIDE, SIDE) integers


def locate(scenes: Scenes) -> Located:
    """Return the maps of scg on all scenes."""
    network, images = Network(DEFAULT_CLASSIFIER), Composites(scenes)
    scg = method(network, "scg")
    maps, colors, masks = [], [], []
    for batch in batches(network, images, labels_of(network, images).labels):
        maps.append(prepared(scg(batch)).float())
        colors.append(batch.colors)
        masks += [sample.mask for sample in batch.samples if sample.mask is not None]
    return Located(torch.cat(maps), torch.cat(colors), torch.stack(masks))


def inputs(found: Located) -> Iterator[tuple[str, Tensor, float]]:
    """Yield a name, maps ``(N, SIDE, SIDE)`` and their threshold."""
    yield f"scg > {THRESHOLD}", found.maps, THRESHOLD
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * WRONG + 1, 2 * WRONG + 1))
    for change, name in ((cv2.erode, "small"), (cv2.dilate, "large")):
        maps = [
            # As soft as a map is: confident only far from its border.
            cv2.GaussianBlur(change(mask.numpy().astype(np.float32), disc), (0, 0), WRONG)
            for mask in found.masks
        ]
        yield f"true mask, {WRONG} pixels too {name}", torch.from_numpy(np.stack(maps)), 0.5


def measure(maps: Tensor, threshold: float, found: Located, tolerance: float) -> dict[str, float]:
    """Return precision, recall and F of the boundaries over all pixels, and IoU of the masks."""
    score = BoundaryScore(thresholds=(0.5,), suppress=False)
    truth = found.colors[:, None], found.masks[:, None]
    for map, image, mask in zip(maps[:, None], *truth, strict=True):
        boundary = pseudo_boundary(map, image, threshold=threshold, tolerance=tolerance)
        score.update(boundary.float(), outline(mask))
    result = score.details()
    masks, true = maps > threshold, found.masks > 0
    overlaps = (masks & true).sum((1, 2)) / (masks | true).sum((1, 2))
    values = (result.precision, result.recall, result.ods, overlaps.mean())
    return dict(zip(COLUMNS, (value.item() for value in values), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=249, help="number of test scenes")
    parser.add_argument("--folder", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and Markdown")
    options = parser.parse_args()
    start, begun = time.perf_counter(), origin()
    scenes = Scenes(load_sources(options.folder), "test", options.scenes, seed=options.seed)
    found = locate(scenes)
    rows: list[dict[str, str | float]] = []
    for name, maps, threshold in inputs(found):
        after = aligned(maps, found.colors, threshold)
        for crf, some, at in (("", maps, threshold), (", conv_crf", after, 0.5)):
            for edges, tolerance in (("contour of ", 0.0), ("pseudo_boundary of ", 5.0)):
                results = measure(some, at, found, tolerance)
                rows.append({"method": f"{edges}{name}{crf}", **results})
                show_progress("rows", len(rows), 12)
    seconds = time.perf_counter() - start
    command, splits = f"boundaries --scenes {options.scenes}", splits_of({"test": scenes})
    record = record_of(command, rows, splits, options.seed, seconds=seconds, begun=begun)
    save(options.out, "boundaries", record)
    print(render(record))


if __name__ == "__main__":
    main()
