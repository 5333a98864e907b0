"""What workers read: every image of a task, batch by batch, and an error where there is none."""

import fsspec
import pytest
import torch

from tests.scale import sources as made
from wsolrefine import Preprocess
from wsolrefine.data import read_image
from wsolrefine.scale.containers import read_row_group, read_tar
from wsolrefine.scale.images import read, read_task
from wsolrefine.scale.items import Item, Task

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
