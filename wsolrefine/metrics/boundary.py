"""ODS, OIS and average precision of soft edge maps against boundary masks, as on BSDS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsolrefine._check import check_boolean, check_like, check_tensors, check_values
from wsolrefine._options import check_flag
from wsolrefine.functional.suppression import suppress_non_maxima
from wsolrefine.functional.thinning import thin
from wsolrefine.metrics._inputs import (
    checked_counts,
    checked_thresholds,
    unit_interval,
)
from wsolrefine.metrics._metric import CountMetric, float64_device, keep_apart, scalars
from wsolrefine.metrics._plot import draw_precision
from wsolrefine.metrics.matching import Pairs, checked_tolerance

LEVELS = tuple(k / 100 for k in range(1, 100))


class BoundaryResult(NamedTuple):
    """Agreement of edges and boundaries, as fractions.

    Without a boundary pixel all are NaN but the thresholds tried and precision, which is 0.

    Attributes:
        ods: best F of all images' counts at one threshold (optimal data set scale), a scalar.
        ods_threshold: the lowest threshold that reaches it.
        ois: F of the counts of each image at its own best threshold (optimal image scale).
        average_precision: area under precision and recall.
        thresholds: ``(T,)``, the thresholds tried.
        precision: ``(T,)``, of all images' counts; 0 where nothing is predicted.
        recall: ``(T,)``, of all images' counts.

    """

    ods: Tensor
    ods_threshold: Tensor
    ois: Tensor
    average_precision: Tensor
    thresholds: Tensor
    precision: Tensor
    recall: Tensor


def count_boundary_matches(
    edges: Tensor,
    boundaries: Tensor,
    *,
    thresholds: Sequence[float] | None = None,
    tolerance: float = 0.0075,
    suppress: bool = True,
) -> Tensor:
    """Count the pixels of thresholded edges that match true boundaries one to one.

    Non-maxima are suppressed once; at each threshold ``edges >= threshold`` is thinned to lines one
    pixel wide and matched in as many pairs as possible, a number that is unique
    (:func:`wsolrefine.metrics.match_boundaries`). Suppression and thinning run on the edges'
    device, matching on the CPU.

    Args:
        edges: soft edge maps in [0, 1], ``(B, H, W)``.
        boundaries: boolean masks of the same shape, taken as they are: lines should be one pixel
            wide, see :func:`wsolrefine.thin`.
        thresholds: T rising numbers in [0, 1], compared in the precision of ``edges``; None: 0.01,
            0.02, ... 0.99.
        tolerance: largest distance of a pair, as a fraction of the image's diagonal.
        suppress: whether to suppress non-maxima; not needed for edges that are already thin.

    Returns:
        ``(B, 4, T)`` int64 on the device of ``edges``: matched edge pixels, edge pixels, matched
        boundary pixels, boundary pixels. Counts of several images add up.

    Raises:
        TypeError: ``edges`` is not a floating-point tensor, ``boundaries`` not a boolean one,
            ``thresholds`` or ``tolerance`` not of numbers, or ``suppress`` not a boolean.
        ValueError: shapes disagree, an edge map has NaN or values outside [0, 1] by more than
            rounding, thresholds do not rise, or ``tolerance`` is not a finite number >= 0.

    Example:
        >>> import torch
        >>> edges = torch.tensor([[[0.9, 0.9, 0.9, 0.0, 0.4]]])
        >>> boundaries = torch.tensor([[[1, 1, 0, 0, 0]]]).bool()
        >>> count_boundary_matches(edges, boundaries, thresholds=[0.3, 0.6])[0]
        tensor([[2, 2],
                [4, 3],
                [2, 2],
                [2, 2]])

    Reference:
        Martin, Fowlkes and Malik, PAMI 2004; Arbelaez et al., "Contour Detection and Hierarchical
        Image Segmentation", PAMI 2011.

    """
    check_values(edges=edges, boundaries=boundaries)
    check_tensors(edges=(edges, "B H W"))
    check_boolean(boundaries=(boundaries, "B H W"))
    check_like(edges=edges, boundaries=boundaries)
    steps = _checked_levels(thresholds)
    tolerance = checked_tolerance(tolerance)
    suppress = check_flag("suppress", suppress)
    edges = unit_interval("edges", edges).to(edges)
    crests = suppress_non_maxima(edges) if suppress else edges
    levels = torch.tensor(steps, dtype=edges.dtype, device=edges.device)[:, None, None]
    counts = torch.zeros(len(edges), 4, len(steps), dtype=torch.int64)
    for count, crest, truth in zip(counts, crests, boundaries.cpu().numpy(), strict=True):
        lines = thin(crest >= levels).cpu()
        count[1], count[3] = lines.sum((1, 2)), int(truth.sum())
        pairs = Pairs(lines.any(0).numpy(), truth, tolerance)
        count[0] = torch.tensor(pairs.counts(lines.numpy()))
        count[2] = count[0]
    return counts.to(edges.device)


def boundary_score(
    counts: Tensor, best: Tensor | None = None, *, thresholds: Sequence[float] | None = None
) -> BoundaryResult:
    """Return ODS, OIS and average precision from counts of matched boundary pixels.

    ``P`` is matched edge pixels over edge pixels, ``R`` matched boundary pixels over boundary
    pixels, ``F = 2 P R / (P + R)``, which is twice the pairs over all pixels of both kinds, and 0
    where that is 0 / 0. ODS is the best F of the summed counts. OIS takes each image's counts at
    the threshold of its best F (on ties the highest, which predicts least) and is F of their sums;
    it is not a mean of F, and may be below ODS.

    Average precision is the mean of P at R = 0.01, 0.02, ... 1, linear between the thresholds. P is
    0 beyond the largest R that is reached. Below the smallest R, P keeps its value there; the
    benchmark's code uses 0, which would cost a perfect map its whole area. Among equal R the
    largest P counts; thresholds at which nothing is predicted have no P and are left out.

    Args:
        counts: ``(B, 4, T)`` of :func:`wsolrefine.metrics.count_boundary_matches`; or their sum
            ``(4, T)``, and then ``best``.
        best: ``(4,)``, the sum over images of their counts at their best thresholds; None: taken
            from ``counts``.
        thresholds: T numbers; None: 0.01, 0.02, ... 0.99.

    Returns:
        :class:`wsolrefine.metrics.BoundaryResult`, float64 fractions; NaN if there is no boundary
        pixel.

    Raises:
        TypeError: ``counts`` or ``best`` is not a tensor of integers, or ``thresholds`` is not of
            numbers.
        ValueError: shapes disagree, a count is negative, or thresholds do not rise.

    Example:
        >>> import torch
        >>> counts = torch.tensor([[[3, 2], [6, 2], [3, 2], [4, 4]]])
        >>> result = boundary_score(counts, thresholds=[0.3, 0.6])  # F: 3/5, 2/3
        >>> round(result.ods.item(), 4), result.ods_threshold.item()
        (0.6667, 0.6)
        >>> result.precision.tolist(), result.recall.tolist()
        ([0.5, 1.0], [0.75, 0.5])

    Reference:
        Arbelaez et al., PAMI 2011, Sec. 3.1, and the benchmark's released code, which also looks
        for the best F between thresholds.

    """
    steps = _checked_levels(thresholds)
    check_values(counts=counts)
    axes = (3,) if best is None else (2,)
    if counts.ndim not in axes or counts.shape[-2:] != (4, len(steps)):
        shown = f"({'B, ' if best is None else ''}4, {len(steps)})"
        raise ValueError(f"counts: expected shape {shown} as thresholds, got {tuple(counts.shape)}")
    if best is not None:
        check_values(best=best)
        if best.shape != (4,):
            raise ValueError(f"best: expected shape (4,), got {tuple(best.shape)}")
        best = checked_counts("best", best)
    counts = checked_counts("counts", counts)
    if best is None:
        best = best_counts(counts)
        counts = counts.sum(0)
    device = float64_device(counts)
    counts, best = counts.to(device), best.to(device)
    precision, recall, score = _scores(counts)
    at = (score == score.amax()).int().argmax()  # the lowest on ties
    tried = torch.tensor(steps, dtype=torch.float64, device=device)
    predicts = counts[1] > 0
    area = _area(precision[predicts].cpu().numpy(), recall[predicts].cpu().numpy())
    average = torch.tensor(area, dtype=torch.float64, device=device)
    missing = counts[3].min() == 0
    ods, threshold, ois, average, recall = (
        value.masked_fill(missing, torch.nan)
        for value in (score[at], tried[at], _scores(best)[2], average, recall)
    )
    return BoundaryResult(ods, threshold, ois, average, tried, precision, recall)


def best_counts(counts: Tensor) -> Tensor:
    """Return the sum ``(4,)`` of the images' counts ``(B, 4, T)``, each at its best threshold."""
    score = _scores(counts.movedim(1, 0))[2]
    # On ties the highest threshold.
    at = score.shape[1] - 1 - (score == score.amax(1, keepdim=True)).flip(1).int().argmax(1)
    return counts.gather(2, at[:, None, None].expand(-1, 4, 1)).sum((0, 2))


def _checked_levels(thresholds: Sequence[float] | None) -> list[float]:
    return checked_thresholds(LEVELS if thresholds is None else thresholds)


def _scores(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return precision, recall and F of counts ``(4, ...)``, 0 where they are 0 / 0.

    As many pixels match on one side as on the other, so F is a ratio of integers: equal values are
    equal to the last bit, and ties are found.
    """
    device = float64_device(counts)
    hit, predicted, found, true = counts.to(device, torch.float64)
    score = (hit + found) / (predicted + true).clamp_min(1)
    return hit / predicted.clamp_min(1), found / true.clamp_min(1), score


def _area(precision: Any, recall: Any) -> float:
    """Return the mean of precision over recall 0.01 ... 1, as ``boundary_score`` defines it."""
    if not len(recall):
        return 0.0
    reached, group = np.unique(recall, return_inverse=True)
    highest = np.zeros(len(reached))
    np.maximum.at(highest, group, precision)
    grid = np.arange(1, 101) / 100
    return float(np.interp(grid, reached, highest, right=0.0).mean())


class BoundaryScore(CountMetric[BoundaryResult]):
    """ODS, OIS and average precision of soft edge maps against true boundaries.

    ``compute`` returns the three as a dictionary: ``ods``, ``ois``, ``average_precision``, float64
    scalars, NaN if there is no boundary pixel. ``details`` returns
    :class:`wsolrefine.metrics.BoundaryResult`, with the curves and the threshold of ODS.

    Args:
        thresholds: T rising numbers in [0, 1]; None: 0.01, 0.02, ... 0.99.
        tolerance: largest distance of a matched pair, as a fraction of the image's diagonal.
        suppress: whether to suppress non-maxima first.
        **kwargs: passed to ``torchmetrics.Metric``.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: ``thresholds`` or ``tolerance`` is not of numbers, or ``suppress`` not a boolean.
        ValueError: thresholds do not rise, or ``tolerance`` is not a finite number >= 0.

    Example:
        >>> import torch
        >>> metric = BoundaryScore()
        >>> edges = torch.zeros(1, 7, 7)
        >>> edges[0, 3], edges[0, 5] = 0.8, 0.4
        >>> metric.update(edges, edges > 0.5)
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'ods': 1.0, 'ois': 1.0, 'average_precision': 1.0}
        >>> metric.details().ods_threshold.item()
        0.41

    Reference:
        Martin, Fowlkes and Malik, PAMI 2004; Arbelaez et al., PAMI 2011.

    """

    counts: Tensor
    best: Tensor
    _result = BoundaryResult

    def __init__(
        self,
        *,
        thresholds: Sequence[float] | None = None,
        tolerance: float = 0.0075,
        suppress: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = _checked_levels(thresholds)
        self.tolerance = checked_tolerance(tolerance)
        self.suppress = check_flag("suppress", suppress)
        counts = torch.zeros(4, len(self.thresholds), dtype=torch.int64)
        keep_apart(self, self.thresholds, self.tolerance, self.suppress)
        self.add_state("counts", counts, dist_reduce_fx="sum")
        self.add_state("best", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, edges: Tensor, boundaries: Tensor) -> None:
        """Add a batch: edges ``(B, H, W)`` in [0, 1] and boolean boundaries of the same shape."""
        counts = count_boundary_matches(
            edges,
            boundaries,
            thresholds=self.thresholds,
            tolerance=self.tolerance,
            suppress=self.suppress,
        )
        best = best_counts(counts)
        self.counts = self.counts + counts.sum(0).to(self.counts.device)
        self.best = self.best + best.to(self.best.device)

    def compute(self) -> dict[str, Tensor]:
        """Return ODS, OIS and average precision."""
        return scalars(self._details(), "ods", "ois", "average_precision")

    def _details(self) -> BoundaryResult:
        return boundary_score(self.counts, self.best, thresholds=self.thresholds)

    def _draw(self, details: BoundaryResult, axes: Any) -> None:
        precision, recall = details.precision, details.recall
        predicts = precision + recall > 0  # elsewhere there is no edge, or none is right
        at = (details.thresholds == details.ods_threshold).nonzero().flatten()
        scores = details.ods.item(), details.ois.item(), details.average_precision.item()
        title = "ODS {:.3f}, OIS {:.3f}, AP {:.3f}".format(*scores)
        points, best = (recall[predicts], precision[predicts]), (recall[at], precision[at])
        draw_precision(axes, *points, title, marked=best)
