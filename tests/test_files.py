"""Only regular files are opened, and JSON of any kind gives a value or a ValueError."""

import os
import re
import threading

import pytest

from tests.support import odd_files
from tests.support.odd_files import time_limit
from wsolrefine._files import NotAFile, open_regular, read_bytes, read_json


@pytest.mark.parametrize("kind", odd_files.KINDS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    said = odd_files.make(tmp_path / "a.txt", kind)
    expected = f"^{re.escape(str(tmp_path / 'a.txt'))}: expected a file, got {said}$"
    for read in (open_regular, read_bytes, read_json):
        with time_limit(5), pytest.raises(NotAFile, match=expected):
            read(tmp_path / "a.txt")


def test_a_pipe_that_takes_the_place_of_a_file_is_refused(tmp_path, monkeypatch):
    """The file is checked once more after it is open, without waiting for a writer."""
    path = tmp_path / "a.txt"
    path.write_text("whole")
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr("wsolrefine._files.os.stat", lambda path: regular)
    with time_limit(5), pytest.raises(NotAFile, match="a named pipe"):
        open_regular(path)


def test_a_writer_that_waits_for_a_reader_goes_on_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    opened = threading.Event()

    def write():
        with (tmp_path / "a.txt").open("wb"):
            opened.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with pytest.raises(NotAFile):
        open_regular(tmp_path / "a.txt")
    assert not opened.wait(0.2)
    with (tmp_path / "a.txt").open("rb"):
        writer.join(5)


def test_missing_and_impossible_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_regular(tmp_path / "nowhere")
    (tmp_path / "loose").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="loose"):
        open_regular(tmp_path / "loose")
    with pytest.raises(OSError, match="null byte"):
        open_regular("a\0b")
    with pytest.raises(OSError, match="x" * 50):
        open_regular("x" * 5000)


def test_a_link_to_a_file_is_followed(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "link").symlink_to("a.txt")
    assert read_bytes(tmp_path / "link") == b"text"


def test_files_of_more_than_the_limit_are_not_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(ValueError, match=r"a\.txt: expected at most 4 bytes, got 5$"):
        read_bytes(path, limit=4)
    with path.open("r+b") as file:
        file.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(ValueError, match=r"expected at most 2,147,483,648 bytes, got 1,099,511,"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"[" * 100_000, "brackets nested too deeply"),
        (b'{"a":' * 100_000, "brackets nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "integer string conversion"),
        (b'{"a": NaN}', "the number NaN"),
        (b"[-Infinity]", "the number -Infinity"),
        (b"[1e999]", "the number 1e999"),
        (b"[-1e999]", "the number -1e999"),
        (b'"\xff"', "text that is not UTF-8"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": 1}}', "Extra data"),
        (b'{"a": 1', "Expecting ',' delimiter"),
    ],
)
def test_what_is_no_json_names_its_file(tmp_path, content, said):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json: expected JSON, got ") as caught:
        read_json(tmp_path / "run.json")
    assert said in str(caught.value)


def test_json_is_read_with_a_byte_order_mark_and_escaped_bytes(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"name": "\\udcff", "n": [1, 2.5, null]}')
    assert read_json(tmp_path / "a.json") == {"name": "\udcff", "n": [1, 2.5, None]}
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json") == [1]
