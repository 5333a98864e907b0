"""The fast count of boxes against the plain loop, on maps made to be difficult."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.references import box_accuracy as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine import minmax
from wsolrefine.metrics import _contours, count_box_hits, score_map_boxes, thresholds_of

IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def paint(rng, gray, level):
    """Put one shape at a random place: filled, a frame, a line, a diagonal, a cross or a ring."""
    height, width = gray.shape
    y, x = np.mgrid[:height, :width]
    y0, y1 = sorted(rng.integers(0, height, 2))
    x0, x1 = sorted(rng.integers(0, width, 2))
    inside = (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)
    core = (y > y0) & (y < y1) & (x > x0) & (x < x1)
    step = rng.choice([-1, 1])
    distance = np.hypot((y - y0) / (rng.random() + 0.5), x - x0)
    radius = rng.random() * max(height, width) / 2
    shapes = [
        inside,
        inside & ~core,
        (y == y0) & inside,
        (x == x0) & inside,
        (y - y0 == step * (x - x0)) & inside,
        (y == y0) | (x == x0),
        distance <= radius,
        (distance <= radius) & (distance > radius - 1.5),
    ]
    gray[shapes[rng.integers(len(shapes))]] = level


def rings(rng, height, width):
    """Frames in frames, with islands in the holes and holes in the islands."""
    gray = np.zeros((height, width), np.uint8)
    levels = rng.integers(0, 256, 3)
    for i, inset in enumerate(range(0, (min(height, width) + 1) // 2, rng.integers(1, 4))):
        gray[inset : height - inset, inset : width - inset] = levels[i % len(levels)]
    return gray


def twins(rng, height, width):
    """The same shape several times, of one level or two: equal areas."""
    tile = np.zeros((rng.integers(1, 7), rng.integers(1, 7)), np.uint8)
    for _ in range(rng.integers(1, 4)):
        paint(rng, tile, 1)
    tile = np.pad(tile, ((0, rng.integers(0, 2)), (0, rng.integers(0, 2))))
    repeats = [-(-height // tile.shape[0]), -(-width // tile.shape[1])]
    levels = rng.choice(rng.integers(1, 256, rng.integers(1, 3)), repeats).astype(np.uint8)
    return np.kron(levels, tile)[:height, :width]


def noise(rng, height, width):
    return rng.choice(rng.integers(0, 256, rng.choice([2, 3, 5, 256])), (height, width))


def cells(rng, height, width):
    """Noise of few levels in blocks: plateaus that meet at corners."""
    side = rng.integers(2, 5)
    coarse = noise(rng, -(-height // side), -(-width // side))
    return np.kron(coarse, np.ones((side, side), np.uint8))[:height, :width]


def painted(rng, height, width):
    gray = np.full((height, width), rng.choice([0, 0, 100, 255]), np.uint8)
    levels = rng.integers(0, 256, rng.choice([2, 4, 8]))
    for _ in range(rng.integers(1, 14)):
        paint(rng, gray, rng.choice(levels))
    return gray


def smooth(rng, height, width):
    coarse = torch.from_numpy(rng.random((1, 1, *rng.integers(1, 6, 2))))
    large = minmax(F.interpolate(coarse, size=(height, width), mode="bicubic")[0, 0])
    return (rng.choice([40, 150, 255]) * large.numpy()).astype(np.uint8)


def checkerboard(rng, height, width):
    y, x = np.mgrid[:height, :width]
    gray = rng.integers(0, 256, 2)[(y + x) % 2].astype(np.uint8)
    gray[noise(rng, height, width) > 250] = rng.integers(0, 256)
    return gray


def stairs(rng, height, width):
    y, x = np.mgrid[:height, :width]
    return (rng.integers(1, 30) * np.maximum(y, x) + rng.integers(0, 9)) % 256


def constant(rng, height, width):
    return np.full((height, width), rng.choice([0, 1, 128, 255]))


def combined(rng, height, width):
    first, second = (draw(rng, height, width) for draw in rng.choice(PLAIN, 2))
    return rng.choice([np.minimum, np.maximum, np.bitwise_xor])(first, second)


PLAIN = [rings, twins, noise, cells, painted, smooth, checkerboard, stairs]
KINDS = [*PLAIN, constant, combined, combined]


def odd_map(rng, kind, maximum=24):
    """A gray map (H, W) uint8 of a kind, sometimes one pixel wide, turned, or with a border."""
    height, width = rng.integers(1, maximum + 1, 2)
    if rng.random() < 0.15:
        height, width = (1, width) if rng.random() < 0.5 else (height, 1)
    gray = np.asarray(kind(rng, height, width)).astype(np.uint8)
    if rng.random() < 0.2:
        gray[:, [0, -1]] = gray[[0, -1]] = rng.choice([0, 255])
    if rng.random() < 0.3:
        gray = (gray // rng.integers(1, 5)).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(gray, rng.integers(4)))


def odd_boxes(rng, gray):
    """Half-open true boxes (n, 4): whole pixels, and sometimes just what a threshold finds."""
    height, width = gray.shape
    start = rng.integers(0, [width, height], (rng.integers(1, 4), 2))
    boxes = np.concatenate([start, rng.integers(start, [width, height]) + 1], 1)
    found = np.concatenate(reference.boxes_of(gray / 255, [rng.random()], True))
    if rng.random() < 0.5:
        boxes[0] = found[rng.integers(len(found))] + [0, 0, 1, 1]
    return boxes


def assert_every_cut_is_exact(gray, boxes, all_contours):
    """Compare the best IoU at each of the map's cuts, whatever thresholds would ask for it.

    Beside the drawn boxes two lone ones, which tell apart predicted boxes of other sizes and places.
    """
    cuts = np.arange(max(int(gray.max()), 1))
    thresholds = (cuts + 0.5) / max(int(gray.max()), 1)
    found = reference.boxes_of(gray / 255, thresholds, all_contours)
    height, width = gray.shape
    whole, part = [0, 0, width - 1, height - 1], [0, 0, 2 * width // 3, 3 * height // 5]
    drawn = boxes - [0, 0, 1, 1]
    for truth, paths in ((drawn, (True, False)), ([whole], (True,)), ([part], (True,))):
        expected = reference.best_ious(found, np.array(truth))
        for compiled in paths:
            out = _contours.best_ious(gray, np.array(truth), cuts, all_contours, compiled=compiled)
            np.testing.assert_array_equal(out, expected, err_msg=f"compiled={compiled}")


@pytest.mark.parametrize("kind", [*PLAIN, constant, combined])
@given(seed=SEEDS, all_contours=st.booleans())
def test_sweep_equals_the_plain_loop(kind, seed, all_contours):
    rng = np.random.default_rng(seed)
    gray = odd_map(rng, kind)
    assert_every_cut_is_exact(gray, odd_boxes(rng, gray), all_contours)


@pytest.mark.parametrize("all_contours", [False, True])
def test_sweep_equals_the_plain_loop_on_hundreds_of_maps(all_contours):
    rng = np.random.default_rng(20 + all_contours)
    for i in range(200):
        gray = odd_map(rng, KINDS[i % len(KINDS)], maximum=16)
        assert_every_cut_is_exact(gray, odd_boxes(rng, gray), all_contours)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (1, 9), (2, 5)])
def test_sweep_equals_the_plain_loop_on_every_small_mask(size):
    """All binary maps of a size, at most 1024; the true box is one of the map before."""
    height, width = size
    truth = np.array([[0, 0, (width - 1) // 2, (height - 1) // 2]])
    for code in range(2 ** (height * width)):
        bits = (code >> np.arange(height * width)) & 1
        gray = (200 * bits).reshape(size).astype(np.uint8)
        for all_contours in (False, True):
            found = reference.boxes_of(gray / 255, [0.0], all_contours)
            expected = reference.best_ious(found, truth)
            out = _contours.best_ious(gray, truth, np.array([0]), all_contours, compiled=True)
            np.testing.assert_array_equal(out, expected, err_msg=str(gray))
        truth = found[0][-1:]


@pytest.mark.parametrize("coarse", [7, 14, 28])
def test_sweep_equals_the_plain_loop_on_large_smooth_maps(coarse):
    values = torch.rand(2, 1, coarse, coarse, generator=generator(coarse), dtype=torch.float64)
    maps = minmax(F.interpolate(values, size=(224, 224), mode="bicubic")[:, 0])
    boxes = [torch.tensor([[30, 40, 150, 200], [100, 5, 220, 90]]), torch.tensor([[0, 0, 99, 224]])]
    for all_contours in (False, True):
        for one, some in zip((255 * maps.numpy()).astype(np.uint8), boxes, strict=True):
            assert_every_cut_is_exact(one, some.numpy(), all_contours)


@pytest.mark.parametrize("compiled", [True, False])
@given(seed=SEEDS, all_contours=st.booleans(), step=st.sampled_from([0.001, 0.01, 0.07, 1]))
def test_counts_equal_the_plain_loop(compiled, seed, all_contours, step):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 14, 2)
    maps, boxes = [], []
    for _ in range(rng.integers(1, 4)):
        gray = np.asarray(rng.choice(KINDS)(rng, height, width)).astype(np.uint8)
        # Between two levels: the truncation has something to do.
        maps.append(np.minimum((gray + rng.choice([0, rng.random()])) / 255, 1))
        boxes.append(torch.from_numpy(odd_boxes(rng, gray)))
    expected = reference.count_hits(maps, boxes, thresholds_of(step), IOUS, all_contours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_contours, "COMPILED", compiled)
        out = count_box_hits(
            torch.from_numpy(np.stack(maps)),
            boxes,
            thresholds=thresholds_of(step),
            ious=IOUS,
            all_contours=all_contours,
        )
    assert out.dtype == torch.int64
    np.testing.assert_array_equal(out.numpy(), expected)


@given(seed=SEEDS, all_contours=st.booleans())
def test_score_map_boxes_equal_the_plain_loop(seed, all_contours):
    rng = np.random.default_rng(seed)
    values = odd_map(rng, rng.choice(KINDS)) / 255
    thresholds = [0.0, *rng.random(3), 1.0]
    expected = reference.boxes_of(values, thresholds, all_contours)
    for threshold, boxes in zip(thresholds, expected, strict=True):
        out = score_map_boxes(torch.from_numpy(values), threshold, all_contours=all_contours)
        assert out.dtype == torch.int64
        np.testing.assert_array_equal(out.numpy(), boxes)


def test_an_outline_of_a_hole_is_a_candidate():
    gray = torch.zeros(9, 9)
    gray[1:8, 1:8] = 1
    gray[3:5, 3:6] = 0
    boxes = score_map_boxes(gray, 0.5, all_contours=True)
    assert boxes.tolist() == [[1, 1, 8, 8], [2, 2, 7, 6]]  # a pixel wider than the hole all round
    assert score_map_boxes(gray, 0.5).tolist() == [[1, 1, 8, 8]]
    hole = [torch.tensor([[2, 2, 8, 7]])]
    both = [
        count_box_hits(gray[None], hole, ious=[1.0], all_contours=a).sum() for a in (False, True)
    ]
    assert [n > 0 for n in both] == [False, True]


def test_lines_have_no_area():
    """Twelve pixels in a line lose against four in a square: areas are of polygons."""
    gray = torch.zeros(8, 14)
    gray[1, 1:13] = 1
    gray[4:6, 4:6] = 1
    assert score_map_boxes(gray, 0.5).tolist() == [[4, 4, 6, 6]]


def test_several_true_boxes_and_none():
    maps = torch.zeros(3, 8, 8)
    maps[:, 1:5, 1:5] = 1
    far, near = torch.tensor([[6.0, 6.0, 8.0, 8.0]]), torch.tensor([[1.0, 1.0, 6.0, 6.0]])
    for boxes, hits in ([far, near, torch.cat([far, near])], 2), ([far[:0]] * 3, 0):
        for all_contours in (False, True):
            options = {"thresholds": [0.5], "ious": [1.0], "all_contours": all_contours}
            assert count_box_hits(maps, boxes, **options).item() == hits


WITHOUT_NUMBA = """
import sys
sys.modules[sys.argv[3]] = None  # an import of it fails
sys.modules["torchmetrics"] = None  # as well: it takes long, and functions need it not
import numpy as np, torch
from wsolrefine.metrics import _contours, count_box_hits
assert _contours.COMPILED == (sys.argv[3] != "numba")
case = np.load(sys.argv[1])
maps, boxes = torch.from_numpy(case["maps"]), list(torch.from_numpy(case["boxes"]))
hits = [count_box_hits(maps, boxes, ious=(0.3, 0.5, 0.7), all_contours=a) for a in (False, True)]
assert not sys.modules.get("wsolrefine.metrics._max_tree")
np.save(sys.argv[2], torch.stack(hits).numpy())
"""


def test_nothing_is_left_to_numba_where_it_compiles_nothing(monkeypatch):
    assert _contours._component_tree() is not None  # and is compiled, for the tests that follow
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    assert _contours._component_tree.__wrapped__() is None


# Not installed; or installed and of no use, such as with a newer NumPy beside it.
@pytest.mark.parametrize("missing", ["numba", "wsolrefine.metrics._max_tree"])
def test_without_numba_the_counts_are_the_same(tmp_path, missing):
    assert _contours.COMPILED  # the tests need the extra "fast"
    rng = np.random.default_rng(0)
    maps = np.stack([draw(rng, 20, 30) for draw in PLAIN]).astype(np.uint8) / 255
    boxes = np.array([[[1, 1, 28, 15], [0, 5, 20, 20]]] * len(maps))
    np.savez(tmp_path / "case.npz", maps=maps, boxes=boxes)
    files = [str(tmp_path / name) for name in ("case.npz", "hits.npy")]
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WITHOUT_NUMBA, *files, missing]
    subprocess.run(command, cwd=root, check=True)
    boxes = list(torch.from_numpy(boxes))
    for all_contours, hits in enumerate(np.load(files[1])):
        options = {"ious": (0.3, 0.5, 0.7), "all_contours": bool(all_contours)}
        expected = count_box_hits(torch.from_numpy(maps), boxes, **options)
        assert expected.any()
        np.testing.assert_array_equal(hits, expected.numpy())
