"""From a source to its images: each form, local and elsewhere, and what is none."""

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.scale import sources as made
from wsolrefine.scale.items import Item
from wsolrefine.scale.sources import find


def found(source, root=None):
    source = find(str(source), None if root is None else str(root))
    return source.kind, list(source.items)


def test_a_folder_is_searched_in_order(tmp_path):
    names = made.write_folder(tmp_path / "photos")
    kind, items = found(tmp_path / "photos")
    assert kind == "files"
    assert sorted(item.id for item in items) == names
    assert [item.path for item in items] == [f"{tmp_path}/photos/{item.id}" for item in items]
    assert items == found(tmp_path / "photos")[1]


def test_a_loop_of_links_ends(tmp_path):
    names = made.write_folder(tmp_path / "photos")
    (tmp_path / "photos/deep/again").symlink_to(tmp_path / "photos", target_is_directory=True)
    assert sorted(item.id for item in found(tmp_path / "photos")[1]) == names


def test_one_file_and_a_glob(tmp_path):
    made.write_folder(tmp_path)
    assert found(tmp_path / "0.png")[1] == [Item("0.png", f"{tmp_path}/0.png")]
    assert [item.id for item in found(tmp_path / "[01].*")[1]] == ["0.png", "1.png"]
    names = [item.id for item in found(f"{tmp_path}/**/*.png")[1]]
    assert {"0.png", "deep/4.png"} <= set(names)
    assert [item.id for item in found(tmp_path / "*")[1]].count("notes.md") == 0


def test_another_file_system():
    files = fsspec.filesystem("memory")
    files.pipe({"/photos/a.png": made.content(0), "/photos/deep/b.jpg": b"", "/photos/c.txt": b""})
    items = [
        Item("a.png", "memory:///photos/a.png"),
        Item("deep/b.jpg", "memory:///photos/deep/b.jpg"),
    ]
    assert sorted(found("memory://photos")[1]) == items


def test_a_list(tmp_path):
    (tmp_path / "list.txt").write_text("a b.png\r\n\n/x/c.png\nmemory://bucket/d.png\n")
    paths = [f"{tmp_path}/a b.png", "/x/c.png", "memory://bucket/d.png"]
    kind, items = found(tmp_path / "list.txt")
    assert kind == "files"
    assert [item.path for item in items] == paths
    assert [item.id for item in items] == ["a b.png", "/x/c.png", "memory://bucket/d.png"]
    assert found(tmp_path / "list.txt", "/elsewhere")[1][0].path == "/elsewhere/a b.png"


def test_coco_keeps_ids_and_categories(tmp_path):
    made.write_coco(tmp_path / "train.json")
    kind, items = found(tmp_path / "train.json", tmp_path / "images")
    assert kind == "files"
    assert items == [
        Item(10, f"{tmp_path}/images/0.png", ("kind 0",), (0,)),
        Item(11, f"{tmp_path}/images/1.png", ("kind 1", "kind 0"), (7, 0)),
        Item(12, f"{tmp_path}/images/2.png", (), ()),
    ]


@pytest.mark.parametrize("text", ["[", "[]", '{"images": [{}]}', '{"images": 3}',
                                  '{"images": [], "annotations": [{"image_id": 1}]}'])  # fmt: skip
def test_a_damaged_coco_file(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(ValueError, match=r"train\.json: expected images and categories as in COCO"):
        found(tmp_path / "train.json")


def test_parquet_with_paths(tmp_path):
    table = pa.table(
        {"id": [5, 6], "url": ["a.png", "memory://b/c.png"], "label": [[1, 2], None], "x": [0, 0]}
    )
    pq.write_table(table, tmp_path / "list.parquet")
    kind, items = found(tmp_path / "list.parquet")
    assert kind == "files"
    assert items == [
        Item(5, f"{tmp_path}/a.png", ("index:1", "index:2")),
        Item(6, "memory://b/c.png", None),
    ]
    pq.write_table(pa.table({"file_name": ["a.png"], "label": ["wren"]}), tmp_path / "b.parquet")
    assert found(tmp_path / "b.parquet")[1] == [Item("a.png", f"{tmp_path}/a.png", ("wren",))]
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="expected a column path, url, file_name or image, got x"):
        found(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        ({"path": ["a.png", None]}, "expected a path in path, got None"),
        ({"path": [1, 2]}, "expected a path in path, got 1"),
        ({"path": ["nothing://a"]}, "expected a path or an address, got nothing://"),
        ({"url": ["a.png"]}, "b.parquet: expected a column path, got url"),
    ],
)
def test_rows_without_a_path(tmp_path, rows, got):
    pq.write_table(pa.table({"path": ["a.png"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table(rows), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=got):
        found(tmp_path / "*.parquet")


def test_containers(tmp_path):
    for name in ("a.tar", "b.tar"):
        made.write_tar(tmp_path / name)
    kind, items = found(tmp_path / "*.tar")
    assert kind == "tar"
    assert items == [Item("a.tar", f"{tmp_path}/a.tar"), Item("b.tar", f"{tmp_path}/b.tar")]
    made.write_images_as_parquet(tmp_path / "a.parquet")
    kind, items = found(tmp_path / "a.parquet")
    assert kind == "parquet"
    assert [item.id for item in items] == [f"a.parquet#{i}" for i in range(3)]
    assert items[0].path == f"{tmp_path}/a.parquet#0"


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("missing", "no such file or folder"),
        ("missing/*.png", "the pattern matches nothing"),
        ("nothing://a", "Protocol not known"),
    ],
)
def test_what_is_no_source(tmp_path, source, got):
    with pytest.raises(ValueError, match=f"SOURCE: expected .*{got}"):
        find(source if "://" in source else f"{tmp_path}/{source}")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x.png")
    with pytest.raises(ValueError, match="SOURCE: expected one list file, got 2"):
        find(f"{tmp_path}/*.txt")
