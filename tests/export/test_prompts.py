"""Prompts for SAM: where points and boxes are."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.exported import HEIGHT, MASKS, WIDTH, blob, records, thing
from wsolrefine.export import Record, write_sam
from wsolrefine.export.prompts import points_inside, spread_points

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS_OF = hnp.arrays(bool, SIZES)


def prompts(path):
    return {one["name"]: one["prompts"] for one in json.loads((path / "prompts.json").read_text())}


def test_points_are_on_the_peaks_and_on_the_background(tmp_path):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    peaks = [((4, 5), 1.0), ((18, 10), 0.8)]
    map = sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 6) for (a, b), h in peaks)
    cat = thing(0, map > 0.3, 0.5, map)
    write_sam([Record("a.jpg", WIDTH, HEIGHT, [cat])], tmp_path / "out")
    (prompt,) = prompts(tmp_path / "out")["a.jpg"]
    assert prompt["point_coords"][:2] == [[4, 5], [18, 10]]
    assert prompt["point_labels"] == [1, 1, 0, 0, 0]
    for column, row in prompt["point_coords"][2:]:
        assert map[row, column] < 0.1
    rows, columns = np.nonzero(map > 0.3)
    assert prompt["box"] == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_without_maps_there_is_one_point_inside_and_none_outside(tmp_path):
    write_sam(records(), tmp_path / "out")
    found = prompts(tmp_path / "out")
    for name, things in MASKS.items():
        expected = [one for one in things if one[1].any()]
        for prompt, (label, mask, score) in zip(found[name], expected, strict=True):
            assert (prompt["label"], prompt["score"], prompt["point_labels"]) == (label, score, [1])
            ((column, row),) = prompt["point_coords"]
            assert mask[row, column]


def test_background_is_where_the_maps_of_all_classes_are_low(tmp_path):
    left, right = np.zeros((2, HEIGHT, WIDTH))
    left[:, :8], right[:, 16:] = 0.9, 0.9
    things = [
        thing(0, blob(0, 0, HEIGHT, 8), map=left),
        thing(1, blob(0, 16, HEIGHT, 8), map=right),
    ]
    write_sam([Record("a.jpg", WIDTH, HEIGHT, things)], tmp_path / "out", points=0, negatives=5)
    for prompt in prompts(tmp_path / "out")["a.jpg"]:
        assert len(prompt["point_coords"]) == 5
        assert all(8 <= column < 16 for column, _ in prompt["point_coords"])


@given(
    MASKS_OF.flatmap(
        lambda mask: st.tuples(
            st.just(mask),
            hnp.arrays(np.float32, mask.shape, elements=st.sampled_from([0, 0.25, 0.5, 1])),
        )
    ),
    st.integers(0, 4),
)
def test_points_inside_are_local_maxima_of_the_mask(pair, number):
    mask, map = pair
    found = points_inside(mask, map, number)
    assert len(found) <= number
    assert bool(found) == bool(number and mask.any())
    if found:
        assert map[found[0][1], found[0][0]] == map[mask].max()
    for column, row in found:
        assert mask[row, column]
        around = (slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2))
        assert map[row, column] == map[around][mask[around]].max()
    values = [map[row, column] for column, row in found]
    assert values == sorted(values, reverse=True)
    assert len({*map_points(found)}) == len(found)


def map_points(points):
    return [tuple(point) for point in points]


@given(MASKS_OF, st.integers(0, 5))
def test_spread_points_are_free_and_apart(free, number):
    found = spread_points(free, [[0, 0]], number)
    assert len({*map_points(found)}) == len(found) <= number
    assert all(free[row, column] for column, row in found)
    others = free.sum() - free[0, 0]
    assert len(found) == min(number, others)
