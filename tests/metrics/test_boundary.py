"""ODS, OIS and AP of edges: cases worked by hand, brute force, what must hold of any."""

import itertools
import math
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage import feature, filters, io, morphology
from torch.testing import assert_close

from tests.references import boundary as reference
from tests.support.edges import blobs, soft
from tests.support.photographs import FOLDER
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine.functional.suppression import suppress_non_maxima
from wsolrefine.functional.thinning import thin
from wsolrefine.metrics._bipartite import largest_matching
from wsolrefine.metrics.boundary import (
    BoundaryResult,
    BoundaryScore,
    boundary_score,
    count_boundary_matches,
)
from wsolrefine.metrics.matching import match_boundaries


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small maps gain nothing from a second thread, and lose where another process has the core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- matching ---------------------------------------------------------------------------------------


def pixels(*places, size=(30, 40)):
    """A mask of 30 x 40, whose diagonal is 50: a tolerance of 0.02 is one pixel."""
    mask = torch.zeros(1, *size, dtype=torch.bool)
    for y, x in places:
        mask[0, y, x] = True
    return mask


def line(row, *, size=(30, 40)):
    return pixels((row, slice(None)), size=size)


def sizes(predicted, target, tolerance):
    first, second = match_boundaries(predicted, target, tolerance=tolerance)
    assert not (first & ~predicted).any()
    assert not (second & ~target).any()
    assert torch.equal(first.sum((1, 2)), second.sum((1, 2)))
    return first, second


@pytest.mark.parametrize(
    ("predicted", "target", "pixels_apart", "pairs"),
    [
        (line(7), line(7), 0, 40),
        (line(7), line(8), 0, 0),
        (line(7), line(8), 1, 40),  # exactly as far as allowed
        (line(7), line(9), 1, 0),
        (line(7), line(9), 1.99, 0),
        (pixels((3, 3)), pixels((4, 4)), 1, 0),
        (pixels((3, 3)), pixels((4, 4)), math.sqrt(2), 1),
        (pixels((3, 3), (3, 5)), pixels((3, 4)), 1, 1),  # two for one
        (pixels((3, 4)), pixels((3, 3), (3, 5)), 1, 1),
        # The nearest first would leave the pixel at 4 alone.
        (pixels((0, 2), (0, 4)), pixels((0, 0), (0, 3)), 2, 2),
        (pixels((0, 0)), pixels((29, 39)), 48, 0),
        (pixels((0, 0)), pixels((29, 39)), 50, 1),
        (pixels(), line(3), 5, 0),
        (line(3), pixels(), 5, 0),
        (pixels(), pixels(), 5, 0),
    ],
)
def test_pairs_by_hand(predicted, target, pixels_apart, pairs):
    first, _ = sizes(predicted, target, pixels_apart / 50)
    assert first.sum() == pairs
    counts = count_boundary_matches(predicted.float(), target, tolerance=pixels_apart / 50)
    assert (counts[0, [0, 2]] == pairs).all()


def test_the_nearest_pairs_are_taken_among_the_most():
    predicted, target = pixels((0, 0), (0, 1), (0, 2)), pixels((0, 2), (0, 3))
    first, second = sizes(predicted, target, 3 / 50)
    assert torch.equal(first, pixels((0, 1), (0, 2)))
    assert torch.equal(second, target)


@st.composite
def two_masks(draw):
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    g = generator(draw(SEEDS))
    density = [draw(st.sampled_from([0.0, 0.1, 0.3, 0.6])) for _ in range(2)]
    return [torch.rand(2, height, width, generator=g) < share for share in density]


TOLERANCES = st.sampled_from([0.0, 0.05, 0.11, 0.2, 0.35, 1.0, 7.5, 1e300])


@given(two_masks(), TOLERANCES)
def test_pairs_match_a_dense_assignment(both, tolerance):
    predicted, target = both
    radius = min(tolerance, 1.0) * math.hypot(*predicted.shape[1:])
    first, second = sizes(predicted, target, tolerance)
    for i in range(2):
        pairs, distance = reference.assignment(predicted[i].numpy(), target[i].numpy(), radius)
        assert first[i].sum() == pairs
        # What was taken pairs off completely, at the least total distance of all.
        taken = reference.assignment(first[i].numpy(), second[i].numpy(), radius)
        assert taken == (pairs, pytest.approx(distance, abs=1e-6))


def count(predicted, target, tolerance):
    """Pairs of masks as they are: without thinning a batch of masks is one cut of each image."""
    first, _ = match_boundaries(predicted, target, tolerance=tolerance)
    return first.sum((1, 2))


@given(two_masks(), TOLERANCES, FLIPS)
def test_pairs_do_not_depend_on_the_view(both, tolerance, how):
    predicted, target = both
    expected = count(predicted, target, tolerance)
    assert torch.equal(count(target, predicted, tolerance), expected)
    assert torch.equal(count(flip(predicted, how), flip(target, how), tolerance), expected)
    assert (expected <= torch.minimum(predicted.sum((1, 2)), target.sum((1, 2)))).all()


@given(two_masks())
def test_a_larger_tolerance_never_loses_pairs(both):
    found = [count(*both, tolerance) for tolerance in (0, 0.07, 0.15, 0.3, 1)]
    for less, more in itertools.pairwise(found):
        assert (less <= more).all()
    assert torch.equal(found[0], (both[0] & both[1]).sum((1, 2)))
    fewest = torch.minimum(both[0].sum((1, 2)), both[1].sum((1, 2)))
    assert torch.equal(found[-1], fewest)  # all within reach of each other


@given(SEEDS, st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.02, 0.1, 0.5]))
def test_largest_matching_is_as_large_as_that_of_scipy(seed, rows, columns, density):
    rng = np.random.default_rng(seed)
    graph = csr_array((rng.random((rows, columns)) < density).astype(float))
    size = (maximum_bipartite_matching(graph, perm_type="column") >= 0).sum()
    begin = np.full(rows, -1)
    for _ in range(2):  # from nothing, then from a part of the result
        mate = largest_matching(graph, begin)
        paired = np.flatnonzero(mate >= 0)
        assert len(paired) == len(set(mate[paired])) == size
        assert (graph.toarray()[paired, mate[paired]] > 0).all()
        begin = np.where(rng.random(rows) < 0.5, mate, -1)


def test_pairs_on_the_device_in_any_layout(device):
    predicted, target = blobs(1), blobs(2)
    expected = match_boundaries(predicted, target, tolerance=0.03)
    moved = match_boundaries(predicted.to(device), target, tolerance=0.03)
    assert all(some.device.type == device.type for some in moved)
    turned = match_boundaries(predicted.mT.contiguous().mT, target.flip(0).flip(0), tolerance=0.03)
    for some in (moved, turned):
        assert all(torch.equal(a.cpu(), b) for a, b in zip(some, expected, strict=True))
    assert torch.equal(predicted, blobs(1))


def test_pairs_of_no_image():
    for some in match_boundaries(torch.zeros(0, 3, 4).bool(), torch.zeros(0, 3, 4).bool()):
        assert some.shape == (0, 3, 4)


# --- counts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suppress", [False, True])
@given(seed=SEEDS)
def test_counts_match_the_steps_one_by_one(suppress, seed):
    edges, boundaries = soft(seed), thin(blobs(seed, batch=2, size=(16, 21)))
    steps = [0.1, 0.3, 0.35, 0.6, 0.9]
    out = count_boundary_matches(
        edges, boundaries, thresholds=steps, tolerance=0.06, suppress=suppress
    )
    assert out.dtype == torch.int64
    for i in range(2):
        crest = reference.suppress(edges[i].numpy()) if suppress else edges[i].numpy()
        for t, step in enumerate(steps):
            cut, truth = morphology.thin(crest >= step), boundaries[i].numpy()
            pairs, _ = reference.assignment(cut, truth, 0.06 * math.hypot(16, 21))
            assert out[i, :, t].tolist() == [pairs, cut.sum(), pairs, truth.sum()]


@given(SEEDS)
def test_counts_hold_together(seed):
    edges, boundaries = soft(seed), thin(blobs(seed, batch=2, size=(16, 21)))
    options = {"thresholds": [0.05, 0.1, 0.25, 0.3, 0.5, 0.55, 0.9]}
    counts = count_boundary_matches(edges, boundaries, tolerance=0.04, **options)
    assert counts.shape == (2, 4, 7)
    assert torch.equal(counts[:, 0], counts[:, 2])
    assert (counts[:, 0] <= counts[:, 1]).all()
    assert (counts[:, 2] <= counts[:, 3]).all()
    assert (counts[:, 3] == boundaries.sum((1, 2))[:, None]).all()
    wider = count_boundary_matches(edges, boundaries, tolerance=0.08, **options)
    assert (wider[:, 0] >= counts[:, 0]).all()
    assert torch.equal(wider[:, 1], counts[:, 1])
    alone = count_boundary_matches(edges[1:], boundaries[1:], tolerance=0.04, **options)
    assert torch.equal(alone, counts[1:])  # images do not meet


def test_thresholds_are_one_hundredths_by_default():
    edges, boundaries = soft(4), thin(blobs(4, batch=2, size=(16, 21)))
    every = count_boundary_matches(edges, boundaries, tolerance=0.04)
    assert every.shape == (2, 4, 99)
    few = count_boundary_matches(edges, boundaries, tolerance=0.04, thresholds=[0.25, 0.5])
    assert torch.equal(few, every[..., [24, 49]])


def test_thresholds_are_reached_in_every_precision():
    boundaries = line(1, size=(3, 4))
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for k in (1, 29, 57, 70, 99):
            edges = boundaries.to(dtype) * torch.tensor(k / 100, dtype=dtype)
            counts = count_boundary_matches(edges, boundaries)[0]
            assert (counts[1] > 0).sum() == k  # 0.01 ... k / 100


def test_counts_on_the_device(device):
    edges, boundaries = soft(8).float(), thin(blobs(8, batch=2, size=(16, 21)))
    expected = count_boundary_matches(edges, boundaries)
    assert expected.any()
    for where in (device, "cpu"):
        out = count_boundary_matches(edges.to(device).requires_grad_(), boundaries.to(where))
        assert out.device.type == device.type
        assert torch.equal(out.cpu(), expected)


# --- figures, worked by hand ------------------------------------------------------------------------


def scored(edges, boundaries, *, pixels_apart=1.0):
    metric = BoundaryScore(tolerance=pixels_apart / 50)
    metric.update(edges, boundaries)
    return metric.details()


def values(result):
    return [round(value.item(), 6) for value in result[:4]]


def test_a_line_against_itself_and_its_neighbors():
    edges = 0.6 * line(10).float()
    assert values(scored(edges, line(10))) == [1, 0.01, 1, 1]
    assert values(scored(edges, line(11))) == [1, 0.01, 1, 1]
    assert values(scored(edges, line(12))) == [0, 0.01, 0, 0]


def test_a_doubled_line_has_half_the_precision():
    edges = 0.6 * (line(10) | line(14)).float()
    result = scored(edges, line(12), pixels_apart=2)
    assert values(result) == [round(2 / 3, 6), 0.01, round(2 / 3, 6), 0.5]
    assert result.precision[:60].eq(0.5).all()
    assert result.recall[:60].eq(1).all()
    assert not result.precision[60:].any()
    assert not result.recall[60:].any()


def test_two_levels():
    """Strong and right, weak and wrong; half of the boundaries is never found.

    Up to 0.4 P = 1/2, R = 1/2; up to 0.8 P = 1. Of equal R the largest P: area 1/2.
    """
    edges = torch.maximum(0.8 * line(5).float(), 0.4 * line(15).float())
    result = scored(edges, line(5) | line(25))
    assert values(result) == [round(2 / 3, 6), 0.41, round(2 / 3, 6), 0.5]
    assert result.precision.tolist() == [0.5] * 40 + [1.0] * 40 + [0.0] * 19
    assert result.recall.tolist() == [0.5] * 80 + [0.0] * 19
    assert result.thresholds.tolist() == [k / 100 for k in range(1, 100)]


def test_each_image_at_its_own_threshold():
    """The weak true line of one image is as weak as the false line of the other."""
    weak = 0.3 * line(5).float()
    noisy = torch.maximum(0.8 * line(5).float(), 0.5 * line(15).float())
    result = scored(torch.cat([weak, noisy]), torch.cat([line(5)] * 2))
    # Up to 0.3: 80 of 120 and of 80; up to 0.5: 40 of 80 and of 80; up to 0.8: 40 of 40 and of 80.
    assert values(result)[:3] == [0.8, 0.01, 1]
    assert result.precision[[0, 40, 70]].tolist() == [80 / 120, 0.5, 1]
    assert result.recall[[0, 40, 70]].tolist() == [1, 0.5, 0.5]
    # From R = 1/2, P = 1 down to R = 1, P = 2/3 on a straight line.
    slope = sum(1 - (1 / 3) * k / 50 for k in range(1, 51))
    assert_close(result.average_precision.item(), (50 + slope) / 100)


def test_area_by_hand():
    counts = torch.tensor([[[3, 2, 0], [6, 2, 0], [3, 2, 0], [4, 4, 4]]])
    result = boundary_score(counts, thresholds=[0.3, 0.6, 0.9])
    # P = 1 up to R = 0.5, then down to 0.5 at R = 0.75, then nothing.
    slope = sum(1 - 0.02 * k for k in range(1, 26))
    assert_close(result.average_precision.item(), (50 + slope) / 100)
    assert_close(result.average_precision.item(), 0.685)


def test_best_thresholds_of_equal_f():
    """Without a match the least that is predicted counts; the pooled threshold is the lowest."""
    counts = torch.tensor([[[0, 0], [9, 5], [0, 0], [4, 4]], [[4, 4], [4, 4], [4, 4], [4, 4]]])
    result = boundary_score(counts, thresholds=[0.2, 0.7])
    assert_close(result.ois.item(), 2 * (4 / 9) * 0.5 / (4 / 9 + 0.5))
    same = boundary_score(counts[1:], thresholds=[0.2, 0.7])
    assert same.ods_threshold == 0.2


@given(SEEDS, st.integers(1, 4), st.integers(1, 9))
def test_figures_match_reference(seed, images, steps):
    g = generator(seed)
    predicted, true = (torch.randint(0, 30, (images, n), generator=g) for n in (steps, 1))
    true = true.expand(-1, steps).clone()
    true[0] += 1
    matched = (torch.rand(images, steps, generator=g) * (torch.minimum(predicted, true) + 1)).long()
    counts = torch.stack([matched, predicted, matched, true], 1)
    thresholds = [(k + 1) / 10 for k in range(steps)]
    result = boundary_score(counts, thresholds=thresholds)
    ods, threshold, ois, average = reference.score(counts.numpy(), thresholds)
    assert_close(result.ods.item(), float(ods))
    assert_close(result.ois.item(), float(ois))
    assert_close(result.average_precision.item(), float(average))
    # Equal fractions may differ by a rounding.
    at = thresholds.index(result.ods_threshold.item())
    assert reference.figures(counts.sum(0).numpy()[:, at])[2] == ods
    assert at >= thresholds.index(threshold)
    assert all(part.dtype == torch.float64 for part in result)
    assert all(((part >= 0) & (part <= 1)).all() for part in result)


@given(SEEDS, st.sampled_from([0.1, 0.4, 1.0]))
def test_a_perfect_map_gives_one_everywhere(seed, strength):
    boundaries = thin(blobs(seed, batch=2))
    metric = BoundaryScore(thresholds=[0.1, 0.3, 0.4, 0.8, 1.0])
    metric.update(strength * boundaries.double(), boundaries)
    result = metric.details()
    assert values(result) == [1, 0.1, 1, 1]
    predicts = result.thresholds <= strength
    assert torch.equal(result.precision, predicts.double())
    assert torch.equal(result.recall, predicts.double())


# --- degenerate input -------------------------------------------------------------------------------


def test_images_without_pixels_add_nothing():
    edges, boundaries = 0.5 * line(5).float(), line(6)
    alone = scored(edges, boundaries)
    nothing = torch.zeros_like(edges)
    result = scored(torch.cat([edges, nothing]), torch.cat([boundaries, nothing.bool()]))
    assert all(torch.equal(a, b) for a, b in zip(alone, result, strict=True))
    # Edges where there is no boundary lower the precision; OIS takes their best threshold: none.
    result = scored(torch.cat([edges] * 2), torch.cat([boundaries, nothing.bool()]))
    assert values(result)[:3] == [round(2 / 3, 6), 0.01, 1]


def test_no_edge_has_no_score():
    assert values(scored(torch.zeros(1, 30, 40), line(5))) == [0, 0.01, 0, 0]


def test_without_a_boundary_there_is_no_score():
    metric = BoundaryScore()
    metric.update(line(5).float(), pixels())
    for result in (metric.details(), boundary_score(torch.zeros(0, 4, 99, dtype=torch.int64))):
        known = result.thresholds, result.precision
        assert all(part.isfinite().all() for part in known)
        assert all(part.isnan().all() for part in result if not any(part is one for one in known))
    assert all(value.isnan() for value in metric.compute().values())
    metric.update(line(5).float(), line(5))  # a later batch may bring one
    assert all(value.isfinite() for value in metric.compute().values())


def test_no_image_and_one_pixel():
    empty = count_boundary_matches(torch.zeros(0, 3, 4), torch.zeros(0, 3, 4).bool())
    assert empty.shape == (0, 4, 99)
    one = count_boundary_matches(torch.ones(1, 1, 1), torch.ones(1, 1, 1).bool())
    assert one.eq(1).all()


# --- metric -----------------------------------------------------------------------------------------


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_add_up():
    edges, boundaries = soft(9, batch=5), thin(blobs(9, batch=5, size=(16, 21)))
    options = {"tolerance": 0.05, "thresholds": [0.1, 0.2, 0.4, 0.5, 0.7]}
    whole, both, first, second = (BoundaryScore(**options) for _ in range(4))
    whole.update(edges, boundaries)
    for some, ranks in ((slice(0, 2), first), (slice(2, 5), second)):
        both.update(edges[some], boundaries[some])
        ranks.update(edges[some], boundaries[some])
    for state in ("counts", "best"):
        added = getattr(first, state) + getattr(second, state)  # what two ranks sync to
        assert torch.equal(added, getattr(whole, state))
        assert torch.equal(getattr(both, state), getattr(whole, state))
        assert added.dtype == torch.int64
    assert_same(whole.details(), both.details())
    counts = count_boundary_matches(edges, boundaries, **options)
    assert_same(whole.details(), boundary_score(counts, thresholds=options["thresholds"]))
    assert whole.details().ois != whole.details().ods


def test_metric_forward_reset_and_pickle():
    edges, boundaries = soft(2, batch=3), thin(blobs(2, size=(16, 21)))
    metric, alone = BoundaryScore(), BoundaryScore()
    alone.update(edges[2:], boundaries[2:])
    metric(edges[:2], boundaries[:2])
    assert metric(edges[2:], boundaries[2:]) == alone.compute()  # of the batch
    whole = BoundaryScore()
    whole.update(edges, boundaries)
    assert_same(metric.details(), whole.details())
    assert_same(pickle.loads(pickle.dumps(metric)).details(), whole.details())
    metric.reset()
    metric.update(edges[2:], boundaries[2:])
    assert_same(metric.details(), alone.details())
    assert isinstance(metric.details(), BoundaryResult)


def test_options_reach_the_counts():
    edges, boundaries = soft(7), thin(blobs(7, batch=2, size=(16, 21)))
    results = set()
    for options in ({}, {"suppress": False}, {"tolerance": 0.1}, {"thresholds": [0.2, 0.6]}):
        metric = BoundaryScore(**options)
        metric.update(edges, boundaries)
        counts = count_boundary_matches(edges, boundaries, **options)
        assert torch.equal(metric.counts, counts.sum(0))
        results.add(metric.details().average_precision.item())
    assert len(results) == 4


def test_a_photograph():
    """Gradients agree with Canny's edges far better than their places at random do."""
    gray = io.imread(FOLDER / "astronaut.png", as_gray=True)[60:160, 170:290]
    boundaries = thin(torch.from_numpy(feature.canny(gray, sigma=1.5))[None])
    gradient = filters.sobel(filters.gaussian(gray, 1))
    edges = torch.from_numpy(gradient / gradient.max())[None]
    found, turned = BoundaryScore(), BoundaryScore()
    found.update(edges, boundaries)
    turned.update(edges.flip(1, 2), boundaries)
    result, chance = found.details(), turned.details()
    assert result.ods > 0.8
    assert result.average_precision > 0.8
    assert chance.ods < 0.5
    thick = BoundaryScore(suppress=False)
    thick.update(edges, boundaries)
    assert thick.details().ods < result.ods


# --- errors -----------------------------------------------------------------------------------------

EDGES, BOUNDARIES = torch.zeros(2, 4, 5), torch.zeros(2, 4, 5).bool()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edges": [[0.0]]}, TypeError, "edges: expected a torch.Tensor, got list"),
        (
            {"edges": EDGES.int()},
            TypeError,
            "edges: expected a floating-point dtype, got torch.int32",
        ),
        ({"edges": EDGES[0]}, ValueError, "edges: expected shape (B, H, W), got (4, 5)"),
        ({"edges": EDGES - 1}, ValueError, "edges: expected values in [0, 1], got -1 to -1"),
        ({"edges": EDGES + 1.5}, ValueError, "edges: expected values in [0, 1], got 1.5 to 1.5"),
        (
            {"edges": EDGES / 0},
            ValueError,
            "edges: expected values in [0, 1], got values that are NaN",
        ),
        ({"boundaries": [[0]]}, TypeError, "boundaries: expected a torch.Tensor, got list"),
        (
            {"boundaries": EDGES},
            TypeError,
            "boundaries: expected dtype torch.bool, got torch.float32",
        ),
        (
            {"boundaries": BOUNDARIES[0]},
            ValueError,
            "boundaries: expected shape (B, H, W), got (4, 5)",
        ),
        (
            {"boundaries": BOUNDARIES.mT},
            ValueError,
            "boundaries: expected shape (2, 4, 5) as edges, got (2, 5, 4)",
        ),
        ({"tolerance": -1}, ValueError, "tolerance: expected a finite number >= 0, got -1"),
        ({"tolerance": math.inf}, ValueError, "tolerance: expected a finite number >= 0, got inf"),
        ({"tolerance": math.nan}, ValueError, "tolerance: expected a finite number >= 0, got nan"),
        (
            {"thresholds": [0.5, 0.2]},
            ValueError,
            "thresholds: expected rising numbers, got 0.5 before 0.2",
        ),
        (
            {"thresholds": []},
            ValueError,
            "thresholds: expected numbers in [0, 1], got []",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    arguments = {"edges": EDGES, "boundaries": BOUNDARIES, **change}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        count_boundary_matches(**arguments)
    if not change.keys() & {"edges", "boundaries"}:
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            BoundaryScore(**change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(4, 99),), "counts: expected shape (B, 4, 99) as thresholds, got (4, 99)"),
        ((torch.zeros(1, 4, 9),), "counts: expected shape (B, 4, 99) as thresholds, got (1, 4, 9)"),
        (
            (torch.zeros(1, 4, 99), torch.zeros(4)),
            "counts: expected shape (4, 99) as thresholds, got (1, 4, 99)",
        ),
        ((torch.ones(4, 99), torch.zeros(1, 4)), "best: expected shape (4,), got (1, 4)"),
    ],
)
def test_wrong_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        boundary_score(*arguments)


def test_wrong_masks_are_refused():
    with pytest.raises(TypeError, match=r"^mask: expected dtype torch.bool, got torch.float32$"):
        thin(EDGES)
    with pytest.raises(ValueError, match=r"^mask: expected shape \(B, H, W\), got \(4, 5\)$"):
        thin(BOUNDARIES[0])
    with pytest.raises(
        TypeError, match=r"^edges: expected a floating-point dtype, got torch.bool$"
    ):
        suppress_non_maxima(BOUNDARIES)
    with pytest.raises(ValueError, match=r"^edges: expected shape \(B, H, W\), got \(4, 5\)$"):
        suppress_non_maxima(EDGES[0])
    with pytest.raises(
        TypeError, match=r"^predicted: expected dtype torch.bool, got torch.float32$"
    ):
        match_boundaries(EDGES, BOUNDARIES)
    message = r"^target: expected shape \(B, H, W\) with B=2 from predicted, got \(1, 4, 5\)$"
    with pytest.raises(ValueError, match=message):
        match_boundaries(BOUNDARIES, BOUNDARIES[:1])
    with pytest.raises(ValueError, match=r"^tolerance: expected a finite number >= 0, got -0.1$"):
        match_boundaries(BOUNDARIES, BOUNDARIES, tolerance=-0.1)
