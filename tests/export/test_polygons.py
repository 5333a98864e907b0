"""Polygons hold just the pixels of their mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from tests.support.exported import two_parts
from wsolrefine.export.polygons import one_polygon, polygons
from wsolrefine.localization.run_lengths import decoded

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def inside(ring, size):
    """Tell by rays which centers of pixels a polygon holds, where it covers an odd number."""
    count = np.zeros(size, dtype=int)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        for row in range(size[0]):
            y = row + 0.5
            if (y0 <= y) != (y1 <= y):
                x = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                count[row] += np.arange(size[1]) + 0.5 > x
    return count % 2 == 1


@given(MASKS)
def test_exact_polygons_have_the_pixels_of_the_mask(mask):
    rings = polygons(mask, 0)
    covered = sum((inside(ring, mask.shape).astype(int) for ring in rings), np.zeros(mask.shape))
    assert (covered == mask).all()
    whole = one_polygon(mask, 0)
    assert (whole is None) == (not mask.any())
    if whole is not None:
        assert (inside(whole, mask.shape) == mask).all()


@given(MASKS)
def test_pycocotools_draws_the_same_mask(mask):
    rings = [ring.ravel().tolist() for ring in polygons(mask, 0)]
    if rings:
        runs = coco_mask.merge(coco_mask.frPyObjects(rings, *mask.shape))
        assert (decoded(runs["counts"].decode(), mask.shape) == mask).all()


@given(MASKS)
def test_a_tolerance_leaves_polygons_near_the_outline(mask):
    for exact, fewer in zip(polygons(mask, 0), polygons(mask, 1), strict=True):
        assert len(fewer) <= len(exact)
        assert len(fewer) >= 3
        assert {*map(tuple, fewer)} <= {*map(tuple, exact)}


def test_the_largest_component_comes_first_and_a_hole_is_left_open():
    first, second = polygons(two_parts(), 0)
    assert (first.min(0), first.max(0)) == (pytest.approx([10, 8]), pytest.approx([15, 13]))
    assert len(first) == 4 + 4 + 2  # outline, hole, and there and back
    assert len(second) == 4


def test_a_large_polygon_fills_the_mask_in_pillow_too():
    y, x = np.mgrid[:200, :300]
    mask = ((x - 140) / 90) ** 2 + ((y - 100) / 60) ** 2 < 1
    drawn = Image.new("1", (300, 200))
    points = [tuple(point) for point in polygons(mask, 1)[0] - 0.5]
    ImageDraw.Draw(drawn).polygon(points, fill=1)
    assert (np.asarray(drawn) & mask).sum() / (np.asarray(drawn) | mask).sum() > 0.98
