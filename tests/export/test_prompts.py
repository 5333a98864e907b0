"""Prompts for SAM: where points and boxes are."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.export.test_points import SCENES, box_of, map_points
from tests.support.exported import HEIGHT, MASKS, WIDTH, blob, records, thing
from wsolrefine.export import Object, Record, write_sam
from wsolrefine.export.prompts import _prompts


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


@given(SCENES, st.integers(0, 5))
def test_points_on_the_background_are_confident_outside_all_masks_and_apart(scene, number):
    map, *masks = scene
    height, width = map.shape
    things = [
        Object(label, "cat", 0.5, box_of(mask), mask, map) for label, mask in enumerate(masks)
    ]
    record = Record("a.jpg", width, height, things)
    free = (map < 0.1) & ~masks[0] & ~masks[1]
    found = _prompts(record, 0, number, 0.1)
    assert found == _prompts(record, 0, number, 0.1)
    for prompt in found:
        points = prompt["point_coords"]
        assert all(free[row, column] for column, row in points)
        assert len({*map_points(points)}) == len(points) <= number
        assert bool(points) == bool(number and free.any())


def test_points_on_the_background_of_several_objects_are_near_each_of_them(tmp_path):
    y, x = np.mgrid[:60, :240]
    map = sum(np.exp(-((x - a) ** 2 + (y - 30) ** 2) / 60) for a in (30, 210)).astype(np.float32)
    masks = [(map > 0.5) & (x < 120), (map > 0.5) & (x > 120)]
    things = [Object(0, "cat", 0.5, box_of(mask), mask, map) for mask in masks]
    first, second = _prompts(Record("a.jpg", 240, 60, things), 1, 4, 0.1)
    assert first["point_labels"] == second["point_labels"] == [1, 0, 0, 0, 0]
    assert all(column < 60 for column, _ in first["point_coords"])
    assert all(column > 180 for column, _ in second["point_coords"])
