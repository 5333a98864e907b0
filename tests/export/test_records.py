"""Records: of localizations, selected, counted anew; tables; folders that appear whole."""

import csv
import re

import numpy as np
import pytest
import torch

from tests.support import small_localizers as small
from tests.support.exported import MASKS, NAMES, blob, files_below, records, thing
from wsolrefine import export
from wsolrefine.export import (
    Object,
    Record,
    RunLengths,
    records_of,
    select_objects,
    used_classes,
    write_coco,
    write_csv,
    write_labelme,
    write_masks,
    write_voc,
    write_yolo,
)
from wsolrefine.export.pixels import map_of, mask_of
from wsolrefine.export.records import detections
from wsolrefine.localization.run_lengths import decoded

WRITERS = [getattr(export, name) for name in export.__all__ if name.startswith("write_")]
WITH_IMAGES = (write_coco, write_labelme, write_masks, write_voc, write_yolo)


@pytest.mark.parametrize("parts", ["largest", "all", "instances"])
def test_records_have_what_a_localization_has(parts):
    localizer = small.localizer_of(parts=parts)
    found = localizer(small.images(2), top=3)
    both = records_of(found, ["in/a.jpg", "in/b.jpg"])
    assert [record.name for record in both] == ["a.jpg", "b.jpg"]
    for b, record in enumerate(both):
        assert (record.width, record.height) == (small.SIDE, small.SIDE)
        assert len(detections(record)) == sum(len(one.masks) for one in found.instances[b])
        for k, label in enumerate(found.labels[b].tolist()):
            own = [one for one in record.objects if one.label == label]
            instances = found.instances[b][k]
            for one, mask, box, score in zip(own, *instances[:2], instances[2], strict=False):
                assert (mask_of(one, record) == mask.numpy()).all()
                assert one.box == tuple(box.tolist())
                assert one.score == pytest.approx(score.item())
            assert torch.allclose(
                torch.from_numpy(map_of(own[0], record)), found.maps[b, k], atol=1e-6
            )


def test_an_empty_mask_and_edges_give_no_detection():
    found = small.localizer_of(threshold=0.999999)(torch.zeros(1, 3, 64, 64))
    (record,) = records_of(found, "a.jpg", names="deep/a.jpg")
    assert (record.name, record.image) == ("deep/a.jpg", "a.jpg")
    assert not detections(record)
    assert len(record.objects) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, ["a"]), TypeError, "localization: expected a Localization, got None"),
        (("found", ["a"]), ValueError, "images: expected 2 as there are images, got 1"),
        (("found", [1, 2]), TypeError, "images: expected paths, got one of type int"),
        (("found", 3), TypeError, "images: expected 2 paths, got int"),
    ],
)
def test_wrong_arguments_of_records_of(arguments, error, message):
    found = small.localizer_of()(small.images(2))
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        records_of(found if arguments[0] else None, arguments[1])


def test_run_lengths_are_those_of_pycocotools():
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(0)
    for size in ((1, 1), (3, 5), (200, 301)):
        for share in (0, 0.01, 0.5, 1):
            mask = rng.random(size) < share
            runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert (decoded(runs["counts"].decode(), size) == mask).all()
    for wrong in ("", "1", "99", "P", "\x00", "é"):
        with pytest.raises(ValueError, match=r"^counts: expected run lengths of"):
            decoded(wrong, (2, 3))


def test_arrays_and_run_lengths_are_the_same_mask(tmp_path):
    arrays = [
        record._replace(objects=[one._replace(mask=mask_of(one, record)) for one in record.objects])
        for record in records()
    ]
    for folder, given in (("runs", records()), ("arrays", arrays)):
        write_coco(given, tmp_path / folder, images="none")
    runs, same = ((tmp_path / f / "annotations.json").read_text() for f in ("runs", "arrays"))
    assert runs == same


def test_the_table(tmp_path):
    write_csv(records(tmp_path / "in"), tmp_path / "out")
    with (tmp_path / "out/objects.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    expected = [(name, *one) for name, things in MASKS.items() for one in things if one[1].any()]
    for row, (name, label, mask, score) in zip(rows, expected, strict=True):
        assert (row["name"], row["image"]) == (name, str(tmp_path / "in" / name))
        assert (int(row["label"]), row["class_name"]) == (label, NAMES[label])
        assert (float(row["score"]), int(row["area"])) == (score, mask.sum())
        rows_of, columns = np.nonzero(mask)
        corners = columns.min(), rows_of.min(), columns.max() + 1, rows_of.max() + 1
        assert tuple(float(row[side]) for side in ("x0", "y0", "x1", "y1")) == corners


def test_only_the_classes_with_objects_are_counted():
    given = [record for record in records() if record.name != "b.png"]
    found, names = used_classes(iter(given))
    assert names == {0: "cat", 1: "wren <3"}
    again = [*found]
    assert [[one.label for one in record.objects] for record in again] == [[0, 1], [-1], [0]]
    assert [*found] == again


def test_objects_of_other_classes_and_with_low_scores_are_left_out():
    labels = {"a.jpg": [2], "b.png": [0], "empty.jpg": [], "deep/a.jpg": (0, 1)}
    left = [[one.label for one in r.objects] for r in select_objects(records(), labels=labels)]
    assert left == [[2], [], [], [0]]
    found = [len(detections(r)) for r in select_objects(records(), min_score=0.65)]
    assert found == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"^labels: expected an image 'b.png', got none$"):
        [*select_objects(records(), labels={"a.jpg": [1]})]


# Folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_with_content_is_left_as_it_is(write, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"^out: expected a new or empty folder, got "):
        write(records(tmp_path / "in"), tmp_path / "out")
    assert files_below(tmp_path / "out") == ["mine.txt"]
    (tmp_path / "out/mine.txt").unlink()
    write(records(tmp_path / "in"), tmp_path / "out")
    assert files_below(tmp_path / "out")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (None, TypeError, "records: expected several Record, got None"),
        (Record("a.jpg", 1, 1), TypeError, "records: expected several Record, got Record"),
        ([3], TypeError, "records[0]: expected Record, got int"),
        (
            [Record("a.jpg", 1, 1)] * 2,
            ValueError,
            "records[1]: expected a name of its own, got 'a.jpg'",
        ),
    ],
)
def test_wrong_records_leave_nothing(write, wrong, error, message, tmp_path):
    options = {"images": "none"} if write in WITH_IMAGES else {}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        write(wrong, tmp_path / "out", **options)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("write", WITH_IMAGES)
def test_images_are_linked_copied_or_left_out(write, tmp_path):
    given = records(tmp_path / "in")
    for how in ("link", "copy", "none"):
        write(given, tmp_path / how, images=how)
        placed = [*(tmp_path / how).rglob("*.jpg")]
        assert len(placed) == (0 if how == "none" else 3)
        assert all(path.is_symlink() == (how == "link") for path in placed)
    with pytest.raises(
        ValueError, match=r"^images: expected 'link', 'copy' or 'none', got 'move'$"
    ):
        write(given, tmp_path / "out", images="move")
    with pytest.raises(
        ValueError, match=r"^images: expected 'none', got 'copy': 'a.jpg' has no file"
    ):
        write(records(), tmp_path / "out", images="copy")
    (tmp_path / "in/b.png").unlink()
    with pytest.raises(ValueError, match=r"^images: expected the image of 'b.png', got no file "):
        write(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_differ_in_their_suffix_have_files_of_their_own(tmp_path):
    cat = thing(0, blob(1, 1, 3, 3))
    given = [Record(name, 24, 16, [cat]) for name in ("a.jpg", "a.png", "A.JPG", "a")]
    write_yolo(given, tmp_path / "out", images="none")
    assert len(files_below(tmp_path / "out/labels/train")) == 4


@pytest.mark.parametrize("write", WITH_IMAGES)
@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "", "C:a.jpg"])
def test_names_that_lead_out_of_the_folder_are_refused(write, name, tmp_path):
    with pytest.raises(ValueError, match=r"^records: expected names that stay below their folder"):
        write([Record(name, 24, 16)], tmp_path / "deep/out", images="none")
    assert files_below(tmp_path) == []


def test_masks_of_another_size_are_refused(tmp_path):
    runs = RunLengths("06", (2, 3))
    for mask in (runs, np.ones((2, 3), bool)):
        record = Record("a.jpg", 24, 16, [Object(0, "cat", 0.5, (0, 0, 3, 2), mask)])
        message = (
            r"^records: expected masks \(height, width\) = \(16, 24\) in 'a.jpg', got \(2, 3\)$"
        )
        with pytest.raises(ValueError, match=message):
            write_coco([record], tmp_path / "out", images="none")


@pytest.mark.parametrize("names", [3, "cat", [1], {"a": "b"}, {0: 1}])
def test_wrong_names(names, tmp_path):
    with pytest.raises(TypeError, match=r"^names: expected "):
        write_yolo(records(), tmp_path / "out", names=names, images="none")
