"""YOLO data sets are read by supervision, and line by line."""

import json

import numpy as np
import pytest
import supervision as sv

from tests.export.test_polygons import inside
from tests.support.exported import FLAT, HEIGHT, MASKS, NAMES, WIDTH, files_below, records
from wsolrefine.export import Record, write_yolo


def lines_of(path):
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()]


def names_of(path):
    lines = [line.split(": ", 1) for line in path.read_text().split("names:\n")[1].splitlines()]
    return {int(label): json.loads(name) for label, name in lines}


def test_boxes_are_centers_and_sizes_by_the_size_of_the_image(tmp_path):
    write_yolo(records(tmp_path / "in"), tmp_path / "out", names=NAMES)
    assert names_of(tmp_path / "out/data.yaml") == NAMES
    for name, things in MASKS.items():
        lines = lines_of(tmp_path / f"out/labels/train/{name.rpartition('.')[0]}.txt")
        expected = [(label, mask) for label, mask, _ in things if mask.any()]
        for (label, x, y, width, height), (real, mask) in zip(lines, expected, strict=True):
            assert label == real
            rows, columns = np.nonzero(mask)
            left, top = (x - width / 2) * WIDTH, (y - height / 2) * HEIGHT
            assert (left, top) == pytest.approx((columns.min(), rows.min()), abs=1e-5)
            right, bottom = left + width * WIDTH, top + height * HEIGHT
            assert (right, bottom) == pytest.approx((columns.max() + 1, rows.max() + 1))


def test_polygons_have_the_pixels_of_the_mask_also_of_several_components(tmp_path):
    write_yolo(records(), tmp_path / "out", images="none", segments=True, tolerance=0)
    for name, things in MASKS.items():
        lines = lines_of(tmp_path / f"out/labels/train/{name.rpartition('.')[0]}.txt")
        expected = [(label, mask) for label, mask, _ in things if mask.any()]
        for (label, *values), (real, mask) in zip(lines, expected, strict=True):
            assert label == real
            ring = np.reshape(values, (-1, 2)) * (WIDTH, HEIGHT)
            assert (inside(ring.round(6), mask.shape) == mask).all()
    assert files_below(tmp_path / "out")[0] == "data.yaml"
    assert not (tmp_path / "out/images").exists()


@pytest.mark.parametrize("segments", [False, True])
def test_supervision_reads_it(tmp_path, segments):
    out = tmp_path / "out"
    write_yolo(records(tmp_path / "in", FLAT), out, names=NAMES, segments=segments, images="copy")
    data = sv.DetectionDataset.from_yolo(
        str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml")
    )
    assert data.classes == [*NAMES.values()]
    for path, image, found in data:
        assert image.shape == (HEIGHT, WIDTH, 3)
        things = [one for one in MASKS[path.rpartition("/")[2]] if one[1].any()]
        assert found.class_id.tolist() == [label for label, _, _ in things]
        for box, (_, mask, _) in zip(found.xyxy, things, strict=True):
            rows, columns = np.nonzero(mask)
            corners = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert box.tolist() == pytest.approx(corners, abs=1 if segments else 1e-3)


def test_a_share_of_the_images_is_for_validation_and_always_the_same(tmp_path):
    many = [Record(f"{number}.jpg", 4, 3) for number in range(200)]
    for folder in ("once", "again"):
        write_yolo(many, tmp_path / folder, images="none", validation=0.25, names=["cat"])
    once, again = (files_below(tmp_path / folder) for folder in ("once", "again"))
    assert once == again
    chosen = [file for file in once if file.startswith("labels/val/")]
    assert 30 < len(chosen) < 70
    assert len(once) == 201
    assert "val: images/val\n" in (tmp_path / "once/data.yaml").read_text()


def test_names_that_are_missing_between_others_are_filled_in(tmp_path):
    write_yolo(
        [record for record in records() if record.name == "b.png"], tmp_path / "out", images="none"
    )
    assert names_of(tmp_path / "out/data.yaml") == {0: "class 0", 1: "dog, hound"}
