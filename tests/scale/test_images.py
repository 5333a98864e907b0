"""What workers read: every image of a task, batch by batch, and an error where there is none."""

import io
import tarfile
from functools import partial

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.scale import sources as made
from tests.support.zoo import MobileNetV2, seeded
from wsolrefine import Localizer, Preprocess
from wsolrefine.cli.label.classes import class_index
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.reading import Plan, load
from wsolrefine.data import read_image
from wsolrefine.scale.containers import read_row_group, read_tar
from wsolrefine.scale.images import read, read_task
from wsolrefine.scale.items import Item, Task
from wsolrefine.scale.localizing import Classes

SMALL = Preprocess((8, 8))


def test_batches_of_a_task(tmp_path):
    names = made.write_folder(tmp_path)
    items = [Item(name, f"{tmp_path}/{name}") for name in names]
    batches = list(read_task(Task(3, 4, 9, items), "files", SMALL, 2))
    assert [(b.part, b.number, b.batches, len(b.pictures)) for b in batches] == [
        (3, 4, 9, 2),
        (3, 5, 9, 2),
        (3, 6, 9, 1),
    ]
    pictures = [picture for batch in batches for picture in batch.pictures]
    assert [picture.item for picture in pictures] == items
    for picture in pictures:
        assert torch.equal(picture.pixels, SMALL(read_image(picture.item.path)))
        assert picture.size == (24, 16)


def test_only_the_last_batch_of_a_container_knows_how_many_there_are(tmp_path):
    made.write_tar(tmp_path / "a.tar", 4)
    task = Task(0, 0, None, [Item("a.tar", f"{tmp_path}/a.tar")])
    assert [b.batches for b in read_task(task, "tar", SMALL, 2)] == [None, 2]
    made.write_tar(tmp_path / "a.tar", 0)
    (empty,) = read_task(task, "tar", SMALL, 2)
    assert (empty.batches, empty.pictures) == (1, [])


def test_samples_of_a_tar(tmp_path):
    made.write_tar(tmp_path / "a.tar")
    item = Item("a.tar", f"{tmp_path}/a.tar")
    found = list(read_tar(item))
    assert [(c.item.id, c.item.labels) for c in found] == [
        (f"a.tar/s/{i:03d}", (f"index:{i}",)) for i in range(3)
    ]
    assert [c.content for c in found] == [made.content(i) for i in range(3)]
    with fsspec.open(found[1].item.path, "rb") as file:  # the path of a row can be opened
        assert file.read() == made.content(1)
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    (damaged,) = read_tar(item)
    assert damaged.item == item
    assert "expected a tar, got a damaged one" in damaged.error


def test_a_class_of_a_sample_that_is_none(tmp_path):
    """It becomes an error of its row: no number is too long to be read."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for suffix, data in (("png", made.content(0)), ("cls", b"9" * 5000)):
            member = tarfile.TarInfo(f"0.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (found,) = read_tar(Item("a.tar", f"{tmp_path}/a.tar"))
    with pytest.raises(ValueError, match="classes: expected an index from 0 to 9"):
        Classes(None, partial(class_index, names=None, number=10)).of(found.item)


def test_a_row_without_an_id(tmp_path):
    rows = {"image": [made.content(i) for i in range(2)], "id": ["a", None]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: expected an id, got none in row 1"):
        list(read_row_group(Item("a.parquet#0", f"{tmp_path}/a.parquet#0")))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_read_as_refine_reads_it(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a.jpg"
    made.picture(3, (2400, 1800)).save(file, quality=95, exif=exif)
    preprocess = Preprocess((64, 64))
    picture = read(Item("a", str(file)), preprocess)
    localizer = Localizer(seeded(MobileNetV2), preprocess=preprocess)
    loaded = load(Plan(localizer, 1, tmp_path), Found(file, "a.jpg", "a"))
    assert torch.equal(picture.pixels, loaded.pixels)
    assert picture.size == loaded.size == read_image(file).size
    assert not torch.equal(picture.pixels, preprocess(read_image(file)))  # it was reduced


def test_rows_of_a_parquet_file(tmp_path):
    made.write_images_as_parquet(tmp_path / "a.parquet")
    found = list(read_row_group(Item("a.parquet#1", f"{tmp_path}/a.parquet#1")))
    assert [content.item.id for content in found] == ["a.parquet#2", "a.parquet#3"]
    assert [content.content for content in found] == [made.content(2), made.content(3)]
    assert [content.item.labels for content in found] == [("index:2",), ("index:3",)]


def test_another_file_system():
    fsspec.filesystem("memory").pipe("/read/a.png", made.content(0))
    found = read(Item("a.png", "memory:///read/a.png"), SMALL)
    assert torch.equal(found.pixels, SMALL(made.picture(0)))
    missing = read(Item("b.png", "memory:///read/b.png"), SMALL)
    assert (missing.pixels, missing.size, missing.error) == (None, None, "no such file or folder")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("empty.png", "expected an image, got an empty file (0 bytes)"),
        ("text.jpg", "expected an image, got another kind of file, or a format that is not read"),
        ("missing.png", "no such file or folder"),
        ("folder.png", "expected an image, got a folder"),
    ],
)
def test_what_is_no_image(tmp_path, name, error):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "folder.png").mkdir()
    found = read(Item(name, f"{tmp_path}/{name}"), SMALL)
    assert (found.error, found.pixels) == (error, None)


def test_preprocessing_that_fails(tmp_path):
    made.picture(0).save(tmp_path / "a.png")

    def fail(image):
        raise KeyError("size")

    assert read(Item("a", f"{tmp_path}/a.png"), fail).error == "reading failed ('size')"
