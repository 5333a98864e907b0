"""Folders of label and refine as records; files that are not theirs."""

import json

import numpy as np
import pytest
import torch

from tests.support.exported import HEIGHT, NAMES, WIDTH
from wsolrefine.data._image_labels import read_image_labels
from wsolrefine.export import read_results
from wsolrefine.export.pixels import map_of, mask_of
from wsolrefine.export.records import detections
from wsolrefine.localization.masks import objects_of
from wsolrefine.scale.images import Batch, Picture
from wsolrefine.scale.items import Item
from wsolrefine.scale.parts import write_part
from wsolrefine.scale.plan import Facts
from wsolrefine.scale.record import Record, write_record
from wsolrefine.scale.rows import RowFormat
from wsolrefine.scale.store import Store

SETTINGS = {"threshold": 0.4, "parts": "all", "maps": True}


def labeled(address, ids, *, parts=1, maps=True, of=2):
    """Write the results of label for images of these ids, two classes each, the last with an error."""
    generator = torch.Generator().manual_seed(0)
    row_format = RowFormat(0.4, "all", True, maps, isinstance(ids[0], int), [*NAMES.values()])
    store = Store(address)
    maps_of = {}
    for part in range(of):
        own = ids[part::of]
        pictures = []
        for identity in own:
            found = torch.rand(2, 4, 6, generator=generator)
            found[1] *= 0.3  # nothing is above the threshold
            maps_of[identity] = found
            item = Item(identity, f"/images/{identity}")
            values = {"labels": [2, 0], "scores": [0.5, 0.25], "maps": found}
            pictures.append(Picture(item, (WIDTH, HEIGHT), **values))
        pictures.append(
            Picture(
                Item(f"bad{part}" if not row_format.numbered else -part - 1, "/bad"),
                error="no image",
            )
        )
        table = row_format.table(Batch(part, 0, 1, pictures))
        write_part(store, part, table, len(pictures), 1)
    facts = Facts("files", parts, len(ids) + of, row_format.numbered, None)
    write_record(store, Record(SETTINGS | {"maps": maps}, "0" * 64, facts, "1.0"))
    return maps_of


@pytest.mark.parametrize("address", ["labels", "memory://exported"])
def test_labels_are_read_part_by_part_without_errors(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maps = labeled(address, ["a.jpg", "deep/b.png", "c.jpg"], parts=2)
    results = read_results(address)
    assert results.names == {0: NAMES[0], 2: NAMES[2]}
    assert len(results) == 5
    found = {record.name: record for record in results}
    assert [*found] == ["a.jpg", "c.jpg", "deep/b.png"]
    for name, record in found.items():
        assert record[1:3] == (WIDTH, HEIGHT)
        assert (record.image, record.id) == (f"/images/{name}", None)
        first, second = record.objects
        assert (first.label, first.name, first.score) == (2, NAMES[2], 0.5)
        assert [one.label for one in detections(record)] == [2]
        assert (second.label, second.box, second.mask) == (0, None, None)
        for one, map in zip(record.objects, maps[name], strict=True):
            stored = (map * 255).round() / 255
            large = torch.nn.functional.interpolate(
                stored[None, None], (HEIGHT, WIDTH), mode="bilinear"
            )
            assert np.allclose(map_of(one, record), large[0, 0], atol=1e-6)
        expected = objects_of(maps[name][None, :1], (HEIGHT, WIDTH), 0.4, "all")[0, 0] > 0
        assert (mask_of(first, record) == expected.numpy()).all()


def test_numbers_of_a_source_stay_and_name_the_images(tmp_path):
    labeled(tmp_path / "labels", [41, 7], parts=2, maps=False)
    found = [*read_results(tmp_path / "labels")]
    assert [(record.name, record.id) for record in found] == [("41", 41), ("7", 7)]
    assert found[0].objects[0].map is None


def test_unfinished_labels_are_refused(tmp_path):
    labeled(tmp_path / "labels", ["a.jpg", "b.jpg"], parts=5)
    with pytest.raises(
        ValueError, match=r"^folder: expected finished labels, got .* without 3 of its"
    ):
        read_results(tmp_path / "labels")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a file of wsolrefine refine"),
        (
            '{"images": [{}], "annotations": [], "categories": []}',
            "expected a file of wsolrefine refine",
        ),
        (
            '{"images": [], "annotations": [{"image_id": 3}], "categories": []}',
            "expected a file of",
        ),
    ],
)
def test_a_damaged_file_of_refine(tmp_path, content, message):
    (tmp_path / "wsolrefine.json").write_text(content)
    with pytest.raises(ValueError, match=f"wsolrefine.json: {message}"):
        read_results(tmp_path)


def test_a_run_that_is_not_finished(tmp_path):
    (tmp_path / "wsolrefine.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert [*read_results(tmp_path)] == []
    (tmp_path / ".wsolrefine.json.finished").touch()
    with pytest.raises(ValueError, match=r"^folder: expected finished results, got "):
        read_results(tmp_path)


# Image-level labels -------------------------------------------------------------------------------

IMAGES = ["a.jpg", "b/c.png"]
FILES = {
    "lists.json": json.dumps({"a.jpg": [2, "cat"], "b/c": "cat"}),
    "lists.csv": "image,labels\na.jpg,2;cat\nb/c,cat\n",
    "rows.csv": "image,label\na.jpg,2\na.jpg,cat\nb/c,cat\n",
    "hot.csv": "image,cat,1,2\na.jpg,1,0,1.0\nb/c,1,0,0\n",
}


@pytest.mark.parametrize("name", FILES)
def test_labels_of_images_from_a_file(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    found = read_image_labels(tmp_path / name, IMAGES)
    assert {*found.of("a.jpg")} == {2, "cat"}
    assert found.of("b/c.png") == ["cat"]
    with pytest.raises(ValueError, match=r"^labels: expected labels of 'd.jpg', got none$"):
        found.of("d.jpg")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_rows_of_an_array_are_the_images_by_name(tmp_path, kind):
    np.save(tmp_path / "hot.npy", np.array([[1, 0, 1], [0, 0, 0]], dtype=kind))
    found = read_image_labels(tmp_path / "hot.npy", IMAGES[::-1])
    assert (found.of("a.jpg"), found.of("b/c.png")) == ([0, 2], [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"^labels: expected a file .json, .csv or .npy, got "),
        ("a.json", "[]", "expected labels by image, got list"),
        ("a.json", '{"a": [1.5]}', "a: expected indices or names of classes, got 1.5"),
        ("a.json", '{"a": [true]}', "a: expected indices or names of classes, got True"),
        (
            "a.csv",
            "image,label\n",
            "expected a row of titles, image and labels, and rows, got less",
        ),
        ("a.csv", "image,0,1\na,1\n", "row 2: expected 3 fields, got 2"),
        ("a.csv", "image,0,1\na,1,2\n", "row 2: expected 0 or 1, got '2'"),
        ("a.csv", "image,0,1\na,1,x\n", "row 2: expected 0 or 1, got 'x'"),
        ("a.npy", "x", "expected an array, got "),
    ],
)
def test_files_that_are_no_labels(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_image_labels(tmp_path / name, IMAGES)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4)), r"expected an array \(2 images, classes\), got \(3, 4\)"),
        (np.zeros(2), r"expected an array \(2 images, classes\), got \(2,\)"),
        (np.full((2, 2), 0.5), "expected 0 and 1, got other values"),
        (np.array([["1"], ["0"]]), "expected 0 and 1, got other values"),
        (np.array([None, {}]), "expected an array, got "),
    ],
)
def test_arrays_that_are_no_labels(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read_image_labels(tmp_path / "a.npy", IMAGES)
