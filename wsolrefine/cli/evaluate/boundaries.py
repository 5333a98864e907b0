"""Edges in ``evaluate``: ODS, OIS and AP against the outlines of a data set's masks."""

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
"""Largest distance of a matched pair as a fraction of the diagonal, as on BSDS."""


def evaluate_edges(
    split: Split, source: ModelMaps, batch_size: int
) -> tuple[Results, Results, tuple[int, tuple[int, int]]]:
    """Match the edges of every image that has a mask.

    Returns:
        The results and curves as fractions, how many images there were, and the size of their maps.

    Raises:
        Unusable: an image or mask cannot be used; those found are named.
        ValueError: there is no mask, or no line in any.

    """
    wanted = [index for index in range(split.count) if split.reader.has_mask(index)]
    if not wanted:
        raise ValueError(f"{split.name}: expected masks of these images, got none")
    total = torch.zeros(4, len(LEVELS), dtype=torch.int64)
    best = torch.zeros(4, dtype=torch.int64)
    sizes: list[tuple[int, int]] = []
    count = partial(_match, split)
    for counts, size in each_image(split, wanted, source.load, source.edges, count, batch_size):
        total += counts[0]
        best += best_counts(counts)
        sizes.append(size)
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
    return {"boundary": results}, curves, (len(wanted), sizes[-1])


def _match(split: Split, index: int, edges: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Count one image, ``(1, 4, T)``, and return the size of its edges."""
    truth = outline(split.reader.mask(index, edges.shape)[None])
    # The recipe has suppressed everything but ridges.
    counts = count_boundary_matches(edges[None], truth, tolerance=TOLERANCE, suppress=False)
    return counts, (edges.shape[0], edges.shape[1])


def edge_protocol(data: Data, source: ModelMaps, images: int, size: tuple[int, int]) -> Protocol:
    """Say what was measured and how, one line for each question that changes a figure."""
    return {
        "data set": str(data.folders),
        "split": data.split.name,
        "images": data.split.size,
        "maps": source.localizer.title,
        "pixels": str(data.split.reader.policy),
        "masks": f"of {images} images; nearest to the size of the edges ({size[0]} x {size[1]})",
        "true edges": "object pixels that touch background, one pixel wide",
        "match": f"one to one, at most {TOLERANCE:g} of the diagonal apart (BSDS)",
        "thresholds": "0.01, 0.02, ... 0.99; the best on these very images (as published)",
    }
