"""Edges in ``evaluate``: ODS, OIS and AP against the outlines of a data set's masks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from wsolrefine import outline
from wsolrefine.cli.console import plain
from wsolrefine.cli.evaluate.dataset import Split
from wsolrefine.cli.evaluate.loop import MAX_PROBLEMS, Unusable, attempt
from wsolrefine.cli.evaluate.protocol import Said, number_of_images
from wsolrefine.cli.evaluate.results import Figures
from wsolrefine.cli.evaluate.score_maps import OfRecipe
from wsolrefine.cli.images import quiet
from wsolrefine.cli.refine.walk import Problems
from wsolrefine.metrics import boundary_score, count_boundary_matches
from wsolrefine.metrics.boundary import LEVELS, best_counts

TOLERANCE = 0.0075
"""Largest distance of a matched pair as a fraction of the diagonal, as on BSDS."""


def evaluate_edges(
    split: Split, source: OfRecipe, batch_size: int
) -> tuple[Figures, Figures, tuple[int, tuple[int, int]]]:
    """Match the edges of every image that has a mask, with a progress bar on standard error.

    Returns:
        The figures and curves as fractions, how many images there were, and the size of their maps.

    Raises:
        Unusable: an image or mask cannot be used; those found are named.
        ValueError: there is no mask, or no line in any.

    """
    wanted = [index for index in range(split.count) if split.reader.has_mask(index)]
    if not wanted:
        raise ValueError(f"the split {split.name} has no mask of these images, got no figures")
    total = torch.zeros(4, len(LEVELS), dtype=torch.int64)
    best, size = torch.zeros(4, dtype=torch.int64), (0, 0)
    problems = Problems()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with (
        ThreadPoolExecutor(
            min(4, os.cpu_count() or 1), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool,
        quiet(),
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        task = progress.add_task(f"evaluating {plain(split.name, console)}", total=len(wanted))
        for start in range(0, len(wanted), batch_size):
            batch = wanted[start : start + batch_size]
            loaded = list(pool.map(partial(attempt, partial(source.load, split)), batch))
            problems += [
                (split.image_id(i), str(found))
                for i, found in zip(batch, loaded, strict=True)
                if isinstance(found, Exception)
            ]
            images = [found for found in loaded if isinstance(found, Tensor)]
            if not problems:
                edges = source.edges(images)
                size = (edges.shape[1], edges.shape[2])
                match = partial(attempt, partial(_match, split))
                counted = pool.map(match, zip(batch, edges, strict=True))
                for i, found in zip(batch, counted, strict=True):
                    if isinstance(found, Exception):
                        problems.append((split.image_id(i), str(found)))
                    else:
                        total += found[0]
                        best += best_counts(found)
            progress.advance(task, len(batch))
            if len(problems) >= MAX_PROBLEMS:
                raise Unusable(problems[:MAX_PROBLEMS], complete=False)
    if problems:
        raise Unusable(problems, complete=True)
    score = boundary_score(total, best)
    said = {
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
    return {"boundary": said}, curves, (len(wanted), size)


def _match(split: Split, found: tuple[int, Tensor]) -> Tensor:
    """Count one image, ``(1, 4, T)``."""
    index, edges = found
    truth = outline(split.reader.mask(index, edges.shape)[None])[0]
    # The recipe has suppressed what is no crest.
    return count_boundary_matches(edges[None], truth[None], tolerance=TOLERANCE, suppress=False)


def edge_protocol(
    folder: str, split: Split, source: OfRecipe, images: int, size: tuple[int, int]
) -> Said:
    """Say what was measured and how, one line for each question that changes a figure."""
    return {
        "data set": folder,
        "split": split.name,
        "images": number_of_images(split),
        "maps": source.name,
        "masks": f"of {images} images; nearest to the size of the edges ({size[0]} x {size[1]})",
        "true edges": "object pixels that touch background, one pixel wide",
        "match": f"one to one, at most {TOLERANCE:g} of the diagonal apart (BSDS)",
        "thresholds": "0.01, 0.02, ... 0.99; the best on these very images (as published)",
    }
