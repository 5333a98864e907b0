"""Indexed masks: values, palette, thresholds, and who has a pixel that several have."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.exported import HEIGHT, MASKS, NAMES, WIDTH, blob, records, thing
from wsolrefine.export import Object, Record, write_masks
from wsolrefine.export.masks import indexed_mask
from wsolrefine.export.palette import voc_palette


def opened(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image), image.getpalette()


def test_pixels_are_the_class_index_plus_one_in_the_colors_of_voc(tmp_path):
    write_masks(records(tmp_path / "in"), tmp_path / "out", names=NAMES)
    for name, things in MASKS.items():
        pixels, palette = opened(tmp_path / f"out/masks/{name.rpartition('.')[0]}.png")
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, mask, _ in sorted(things, key=lambda one: one[2]):
            expected[mask] = label + 1
        assert (pixels == expected).all()
        # Those of aeroplane, bicycle, bird and of the border, as the development kit lists them.
        assert palette[3:12] == [128, 0, 0, 0, 128, 0, 128, 128, 0]
        assert palette[-3:] == [224, 224, 192]
        assert (tmp_path / "out/images" / name).read_bytes() == (
            tmp_path / "in" / name
        ).read_bytes()
    assert (tmp_path / "out/train.txt").read_text().split() == ["a", "b", "empty", "deep/a"]
    lines = (tmp_path / "out/classes.txt").read_text().splitlines()
    assert lines == ["background", "cat", "dog, hound", "wren <3"]


def test_the_palette_has_a_color_for_each_class():
    colors = {tuple(voc_palette()[3 * i : 3 * i + 3]) for i in range(256)}
    assert len(colors) == 256


def test_overlap_goes_to_the_higher_score_or_the_higher_map():
    left, right = blob(0, 0, 16, 16), blob(0, 8, 16, 16)
    slope = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)
    things = [thing(0, left, 0.9, 1 - slope), thing(1, right, 0.2, slope)]
    record = Record("a.jpg", WIDTH, HEIGHT, things)
    by_score, by_map = (indexed_mask(record, None, kind) for kind in ("score", "map"))
    assert (by_score == np.where(left, 1, 2)).all()
    assert (by_map == np.where(slope < 0.5, 1, 2)).all()


LEVELS = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 1.0]), min_size=6, max_size=6)


@given(LEVELS, LEVELS, st.sampled_from(["score", "map"]))
def test_two_thresholds_make_object_ignored_and_background(first, second, overlap):
    maps = np.array([first, second], dtype=np.float32)
    things = [Object(4, "a", 0.3, map=maps[:1]), Object(7, "b", 0.6, map=maps[1:])]
    found = indexed_mask(Record("a.jpg", 6, 1, things), (0.5, 0.2), overlap)[0]
    for value, (a, b) in zip(found.tolist(), maps.T.tolist(), strict=True):
        hits = [(5, a, 0.3)] * (a > 0.5) + [(8, b, 0.6)] * (b > 0.5)
        if hits:
            key = (lambda hit: hit[2]) if overlap == "score" else (lambda hit: hit[1:])
            assert value == max(hits, key=key)[0]
        else:
            assert value == (255 if max(a, b) >= np.float32(0.2) else 0)


def test_a_map_of_an_unknown_class_is_ignored_where_it_is_no_background():
    record = Record("a.jpg", 3, 1, [Object(-1, "", map=np.array([[0.0, 0.3, 0.9]]))])
    assert indexed_mask(record, (0.5, 0.2), "score").tolist() == [[0, 255, 255]]
    assert indexed_mask(record, None, "score").tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foreground": 0.5}, "background: expected a threshold as foreground has one, got None"),
        ({"background": 0.5}, "foreground: expected a threshold as background has one, got None"),
        (
            {"foreground": 0.2, "background": 0.3},
            "foreground: expected at least background=0.3, got",
        ),
        ({"foreground": 1, "background": 0}, "foreground: expected a number in [0, 1), got 1"),
        ({"overlap": "area"}, "overlap: expected 'score' or 'map', got 'area'"),
        ({"overlap": "map"}, "records: expected objects with maps, got one without in 'a.jpg'"),
        ({"foreground": 0.5, "background": 0}, "records: expected objects with maps, got one"),
        (
            {"names": ["x"] * 255},
            "names: expected class indices up to 253 for masks of 8 bits, got",
        ),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        write_masks(records(), tmp_path / "out", images="none", **options)
    assert not [*tmp_path.iterdir()]
