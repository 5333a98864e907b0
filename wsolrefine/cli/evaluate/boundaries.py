"""Edges in ``evaluate``: ODS, OIS and AP against the outlines of the masks."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from wsolrefine import outline
from wsolrefine.cli.evaluate.dataset import Data, Split
from wsolrefine.cli.evaluate.loop import each_image
from wsolrefine.cli.evaluate.protocol import Protocol
from wsolrefine.cli.evaluate.results import Results
from wsolrefine.cli.evaluate.score_maps import ModelMaps
from wsolrefine.metrics import boundary_score, count_boundary_matches
from wsolrefine.metrics.boundary import LEVELS, best_counts

TOLERANCE = 0.0075
"""Largest distance of a matched pair, as a fraction of the diagonal, as in BSDS."""


def evaluate_edges(
    split: Split, source: ModelMaps, batch_size: int, workers: int | None = None
) -> tuple[Results, Results, tuple[int, tuple[int, int]]]:
    """Match the edges of every image that has a mask.

    Returns:
        The results and curves as fractions, the number of images, and the size of their maps.

    Raises:
        Unusable: an image or mask cannot be used; the exception lists those found.
        ValueError: there is no mask, or no mask has an outline.

    """
    masked = [index for index in range(split.count) if split.reader.has_mask(index)]
    if not masked:
        raise ValueError(f"{split.name}: expected masks of these images, got none")
    total = torch.zeros(4, len(LEVELS), dtype=torch.int64)
    best = torch.zeros(4, dtype=torch.int64)
    last = 0, 0
    count = partial(_match, split)
    for counts, size in each_image(
        split, masked, source.load, source.edges, count, batch_size, workers
    ):
        total += counts[0]
        best += best_counts(counts)
        last = size
    if not total[3].any():
        raise ValueError("boundaries: expected at least one boundary pixel, got none")
    score = boundary_score(total, best)
    results = {
        "ods": score.ods.item(),
        "ods_threshold": score.ods_threshold.item(),
        "ois": score.ois.item(),
        "average_precision": score.average_precision.item(),
    }
    curves = {
        "edge_thresholds": score.thresholds.tolist(),
        "precision": score.precision.tolist(),
        "recall": score.recall.tolist(),
    }
    return {"boundary": results}, curves, (len(masked), last)


def _match(split: Split, index: int, edges: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Return the counts ``(1, 4, T)`` of one image, and the size of its edges."""
    truth = outline(split.reader.mask(index, edges.shape)[None])
    # The recipe already applies non-maximum suppression.
    counts = count_boundary_matches(edges[None], truth, tolerance=TOLERANCE, suppress=False)
    return counts, (edges.shape[0], edges.shape[1])


def edge_protocol(data: Data, source: ModelMaps, images: int, size: tuple[int, int]) -> Protocol:
    """Return everything that the results depend on, one line each."""
    return {
        "data set": str(data.folders),
        "split": data.split.name,
        "images": data.split.description,
        "maps": source.localizer.title,
        "pixels": str(data.split.reader.policy),
        "masks": f"of {images} images; resized to the edges (nearest), {size[0]} x {size[1]}",
        "true edges": "object pixels next to background, one pixel wide",
        "matching": f"one to one, at most {TOLERANCE:g} of the diagonal apart (BSDS)",
        "thresholds": "0.01, 0.02, ... 0.99",
        "threshold": "the best on these images (as published; optimistic)",
    }
