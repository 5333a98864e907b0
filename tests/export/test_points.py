"""Points for SAM: on the maxima of an object, and on the background around it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsolrefine.export.points import inner, points_around, points_inside

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS_OF = hnp.arrays(bool, SIZES)


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


SCENES = SIZES.flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.float32, shape, elements=st.sampled_from([0, 0.0625, 0.25, 1])),
        hnp.arrays(bool, shape),
        hnp.arrays(bool, shape),
    )
)


@given(SCENES, st.integers(1, 4))
def test_each_point_on_the_background_is_as_far_from_the_others_as_any_could_be(scene, number):
    map, free, mask = scene
    box = box_of(mask) or (0, 0, *map.shape[::-1])
    found = points_around(box, map, free, number)
    allowed = points_around(box, map, free, map.size)
    rows, columns = np.array(allowed, dtype=int).reshape(-1, 2).T[::-1]
    assert found == allowed[:number]
    if found:
        assert map[found[0][1], found[0][0]] == map[rows, columns].min()
    for count in range(1, len(found)):
        distance = [np.hypot(columns - x, rows - y) for x, y in found[:count]]
        last = np.hypot(*np.subtract(found[:count], found[count]).T).min()
        assert np.isclose(last, np.min(distance, axis=0).max())


def box_of(mask):
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_points_on_the_background_are_around_the_object_and_not_in_the_corners():
    y, x = np.mgrid[:120, :160]
    distance = np.hypot(x - 60, y - 50)
    map = np.clip(1 - distance / 40, 0, 1).astype(np.float32)
    map[0, 0] = map[-1, -1] = -1  # the lowest of all, as the corners of real maps often are
    found = points_around((40, 30, 80, 70), map, map < 0.1, 8)
    assert len(found) == 8
    columns, rows = np.array(found).T
    # The nearest background is 36 pixels from the middle; 15.5 of them are outside of the box.
    assert all(36 <= distance[row, column] < 50 for column, row in found)
    angles = np.sort(np.arctan2(rows - 50, columns - 60))
    assert np.diff([*angles, angles[0] + 2 * np.pi]).max() < np.pi / 2  # on every side


def test_a_corner_is_taken_where_nothing_else_is_background():
    map = np.ones((40, 60), dtype=np.float32)
    map[:3, -4:] = 0
    (point,) = points_around((10, 10, 50, 40), map, map < 0.1, 1)
    assert point == [57, 1]


@given(MASKS_OF, st.floats(0, 8))
def test_inner_pixels_are_as_deep_as_asked_or_the_deepest(area, margin):
    if not area.any():
        return
    found = inner(area, margin)
    height, width = area.shape
    outside = [(r, c) for r in range(-1, height + 1) for c in range(-1, width + 1)
               if not (0 <= r < height and 0 <= c < width and area[r, c])]  # fmt: skip
    depth = np.zeros(area.shape)
    for r, c in zip(*np.nonzero(area), strict=True):
        depth[r, c] = np.hypot(*(np.array(outside) - (r, c)).T).min()
    assert np.array_equal(found, area & (depth >= min(margin, depth.max()) - 1e-9))
