"""Folders of results on a disk and elsewhere: files appear whole or not at all."""

import pytest

from wsolrefine.scale.store import TEMPORARY, Store


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(tmp_path / "out" if request.param == "local" else f"memory:/{tmp_path}")


def test_what_is_written_is_there(store):
    assert store.names("labels") == []
    assert not store.exists("labels/a")
    store.write("labels/b", b"2")
    store.write("labels/a", b"1")
    store.write("label.json", b'{"a": 1}')
    assert store.names("labels") == ["a", "b"]
    assert store.read("labels/b") == b"2"
    assert store.exists("labels/a")
    assert store.size("label.json") == 8
    assert store.read_json("label.json") == {"a": 1}
    with store.open("labels/a") as file:
        assert file.read() == b"1"
    store.write("labels/a", b"other")
    assert store.read("labels/a") == b"other"
    store.remove("labels/a")
    assert store.names("labels") == ["b"]


def test_nothing_is_left_of_a_file_that_fails(store):
    store.write("labels/a", b"before")

    def fail():
        with store.writing("labels/a") as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert store.read("labels/a") == b"before"
    assert store.names("labels") == ["a"]
    assert [name for name in store._all("labels") if name.startswith(TEMPORARY)] == []


def test_what_a_killed_run_has_left_is_removed(store):
    for name in ("labels/a", f"labels/{TEMPORARY}1", f"{TEMPORARY}2"):
        store.write(name, b"x")
    assert store.names("labels") == ["a"]  # readers pass over it
    store.remove_temporary("", "labels", "missing")
    assert store._all("labels") == ["a"]
    assert not [name for name in store._all("") if name.startswith(TEMPORARY)]


def test_what_is_no_json(store):
    store.write("label.json", b"{")
    with pytest.raises(ValueError, match=r"label\.json: expected JSON, got "):
        store.read_json("label.json")
    with pytest.raises(FileNotFoundError):
        store.read_json("other.json")
