"""The results of ``refine`` on disk: JSON read value by value, the lines of a run, names, pictures."""

import io
import json
import os
import tracemalloc
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from wsolrefine.cli.files import FolderInUse
from wsolrefine.cli.refine import stream
from wsolrefine.cli.refine.coco import RESULTS, Known, Results, annotation
from wsolrefine.cli.refine.finished import Finished
from wsolrefine.cli.refine.names import Names
from wsolrefine.cli.refine.outputs import result_file
from wsolrefine.cli.refine.png import gray_png
from wsolrefine.cli.refine.stored import BadResults
from wsolrefine.cli.refine.stream import Stream, loads

# JSON, value by value -----------------------------------------------------------------------------

TEXTS = st.text() | st.sampled_from(["é", "猫", '"\\', "]}", "\ud800", "\x80"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def written(content, ascii_only, indent):
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    return text.encode("utf-8", "surrogatepass" if ascii_only else "replace")


def read(text):
    """Return an object as it is read value by value, and check the place of each."""
    values = Stream(io.BytesIO(text))
    found = {}
    for key in values.members():
        if key == "list":
            found[key] = []
            for value, (start, length) in values.elements():
                assert loads(text[start : start + length]) == value
                found[key].append(value)
        else:
            found[key], (start, length) = values.value()
            assert loads(text[start : start + length]) == found[key]
    values.end()
    return found


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.lists(VALUES), st.booleans(),
       st.sampled_from([None, 1]), st.integers(1, 50))  # fmt: skip
def test_json_read_value_by_value_is_json(members, elements, ascii_only, indent, chunk):
    text = written({**members, "list": elements}, ascii_only, indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", chunk)
        assert read(text) == json.loads(text)


@given(st.lists(VALUES, min_size=1), st.data())
def test_json_that_is_cut_off_is_refused(elements, data):
    text = written({"list": elements}, True, None)
    length = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match="expected JSON"):
        read(text[:length])


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b'{"a": 1} {', "'{' after its end"),
        (b'{"a": 1, "a": 2}', "a name that no other value has, got 'a'"),
        (b"{1: 2}", "a name that no other value has, got 1"),
        (b'{"a": 1,}', "expected JSON"),
        (b'{"list": [1,]}', "expected JSON"),
        (b'{"list": {}}', "'{' instead of '['"),
        (b'{"a": NaN}', "the number NaN"),
        (b'{"a": 1e999}', "the number 1e999"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a": ' + b"[" * 10**5, "brackets nested too deeply"),
        (b"[]", "'[' instead of '{'"),
    ],
)
def test_what_is_no_json_is_named(text, got):
    with pytest.raises(ValueError, match=r"expected|number|utf-8") as caught:
        read(text)
    assert got in str(caught.value)


# Lines of finished batches ------------------------------------------------------------------------

SETTINGS = {"method": "scg", "layers": ["a"]}


def record(name, **changed):
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 2:4] = True
    file = result_file("masks", name.removesuffix(".jpg"))
    image = {"file_name": name, "width": 10, "height": 8, "source": f"../in/{name}", "bytes": 9,
             "modified": 7, "files": [file]}  # fmt: skip
    return {**image, "annotations": [{**annotation(mask, (8, 10), 1, 0.5), "mask": file}],
            **changed}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    """Return results with two images in the COCO file, and one that a killed run has finished."""
    found = Results(tmp_path, SETTINGS)
    found.categories, found.model = {0: "wren", 1: "robin"}, "0" * 64
    found.start()
    found.add([record("a.jpg"), record("b.jpg")])
    found.write()
    found.add([record("c.jpg")])
    return found


def test_what_a_killed_run_has_finished_is_taken_over(results, tmp_path):
    assert {*json.loads((tmp_path / RESULTS).read_text())["images"][0]} >= {"id", "file_name"}
    again = Results.read(tmp_path)
    assert [*again.images] == ["a.jpg", "b.jpg", "c.jpg"]
    for name in again.images:
        plain = {key: value for key, value in again.images[name].items() if key != "id"}
        (entry,) = plain["annotations"]
        plain["annotations"] = [{k: v for k, v in entry.items() if k not in ("id", "image_id")}]
        assert plain == record(name)
    again.write()
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]
    content = json.loads((tmp_path / RESULTS).read_text())
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert [(a["id"], a["image_id"]) for a in content["annotations"]] == [(1, 1), (2, 2), (3, 3)]
    before = (tmp_path / RESULTS).read_bytes()
    Results.read(tmp_path).write()
    assert (tmp_path / RESULTS).read_bytes() == before


def test_an_image_that_is_done_again_takes_the_place_of_the_earlier_one(results, tmp_path):
    results.add([record("a.jpg", bytes=99)])
    assert Results.read(tmp_path).images["a.jpg"]["bytes"] == 99
    results.delete("b.jpg")
    results.write()
    again = Results.read(tmp_path)
    assert {name: image["bytes"] for name, image in again.images.items()} == {
        "a.jpg": 99, "c.jpg": 9
    }  # fmt: skip


@given(st.integers(0, 10**4))
def test_a_batch_whose_line_is_incomplete_is_not_done(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("out")
    found = Results(folder, SETTINGS)
    found.categories = {1: "robin"}
    found.start()
    found.add([record("a.jpg")])
    whole = found.finished.path.stat().st_size
    found.add([record("b.jpg"), record("c.jpg")])
    text = found.finished.path.read_bytes()
    length = whole + cut % (len(text) - whole)
    found.finished.path.write_bytes(text[:length])
    assert found.finished.is_ours()
    assert [*Results.read(folder).images] == ["a.jpg"]
    found.finished.path.write_bytes(text[: cut % whole])
    assert found.finished.is_ours()
    assert [*Results.read(folder).images] == []


def test_lines_of_other_settings_are_given_up(results, tmp_path):
    other = Results(tmp_path, {"method": "sem"})
    other.categories = results.categories
    other.write()
    results.finished.clear()
    results.add([record("c.jpg")])
    assert [*Results.read(tmp_path).images] == []
    other.start()
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


def test_a_full_disk_leaves_whole_lines(results, tmp_path, monkeypatch):
    before, real = results.finished.path.read_bytes(), os.write

    def full(handle, text):
        if len(text) > 100:
            return real(handle, text[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsolrefine.cli.refine.finished.os.write", full)
    with pytest.raises(OSError, match="No space"):
        results.add([record("d.jpg")])
    monkeypatch.undo()
    assert results.finished.path.read_bytes() == before
    assert "d.jpg" not in results.images
    results.add([record("d.jpg")])
    assert [*Results.read(tmp_path).images] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("width",), "x"), (("width",), 5), (("file_name",), "../x"), (("source",), ""),
        (("files",), ["masks/../../x.png"]), (("files",), ["masks/b.png"]), (("annotations",), 5),
        (("annotations", 0, "bbox"), [0, 0, 99, 9]), (("annotations", 0, "category_id"), 9),
        (("annotations", 0, "mask"), "/x.png"), (("annotations", 0, "score"), 2),
    ],
)  # fmt: skip
def test_an_altered_line_is_refused(results, tmp_path, place, value):
    header, line = results.finished.path.read_text().splitlines()
    content = json.loads(line)
    inside = content[0]
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    results.finished.path.write_text(f"{header}\n{json.dumps(content)}\n")
    with pytest.raises(BadResults, match=r"not a file of wsolrefine \(line 2: "):
        Results.read(tmp_path)


@pytest.mark.parametrize("line", ["5", "{", "[5]", "null", "[" * 10**5, "\xff"])
def test_a_line_that_is_none_is_refused(results, tmp_path, line):
    with results.finished.path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    with pytest.raises(BadResults, match="not a file of wsolrefine"):
        Results.read(tmp_path)


@pytest.mark.parametrize("text", ["mine", "[]\n", '{"finished": "evaluation.json"}\n', "\0"])
def test_a_file_that_is_not_ours(tmp_path, text):
    finished = Finished(tmp_path, RESULTS)
    assert finished.is_ours()
    finished.path.write_text(text)
    assert not finished.is_ours()


@pytest.mark.parametrize("shift", [b"", b" ", b'{"file_name": '])
def test_a_file_that_another_run_has_replaced_is_in_use(tmp_path, results, shift):
    results.write()
    again = Results.read(tmp_path)
    results.delete("a.jpg")
    results.write()
    path = tmp_path / RESULTS
    path.write_bytes(shift + path.read_bytes())
    with pytest.raises(FolderInUse):
        again.files()


def peak_memory(folder, count):
    """Return the peak of writing so many images with 20 kB each, and of continuing them."""
    folder.mkdir()
    found = Results(folder, SETTINGS)
    found.categories = {1: "robin"}
    found.start()
    (entry,) = record("a.jpg")["annotations"]
    entry["segmentation"] = {"size": [8, 10], "counts": "0" * 20_000}
    tracemalloc.start()
    try:
        for number in range(count):
            file = f"masks/{number}.png"
            found.add([record(f"{number}.jpg", annotations=[{**entry, "mask": file}])])
        found.write()
        again = Results.read(folder)
        again.add([record("more.jpg")])
        again.write()
        assert len(again.images) == count + 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_masks_of_many_images(tmp_path):
    few, many = (peak_memory(tmp_path / f"{count}", count) for count in (200, 2000))
    assert (tmp_path / f"2000/{RESULTS}").stat().st_size > 40e6
    assert many - few < 1800 * 1500  # bytes for each of the 1800 more, and each has 20,000


# Names --------------------------------------------------------------------------------------------


def test_results_have_the_suffix_of_the_image_only_where_two_would_be_one():
    names = Names({})
    for name in ("a.jpg", "a.PNG", "b.jpg", "c", "d.png/e.jpg", "d.gif", "f.jpg.png", "f.jpg"):
        names.of(f"/in/{name}", name)
    assert names.bases() == {
        "a.jpg": "a.jpg", "a.PNG": "a.PNG", "b.jpg": "b", "c": "c", "d.png/e.jpg": "d.png/e",
        "d.gif": "d.gif", "f.jpg.png": "f.jpg.png", "f.jpg": "f",
    }  # fmt: skip


def test_bases_in_use_are_kept_and_free_ones_are_found():
    known = {"/in/a.jpg": Known("a.jpg", "a"), "/in/b.png.jpg": Known("b.png.jpg", "b.png")}
    names = Names({**known, "/in/none.jpg": Known("none.jpg", None)})
    for name in ("a.png", "a.jpg", "b.png", "none.jpg", "none.png"):
        names.of(f"/in/{name}", name)
    found = names.bases()
    assert found.pop("in/b.png") == "in/b"
    assert found == {
        "a.jpg": "a", "a.png": "a.png", "b.png.jpg": "b.png", "none.jpg": "none.jpg",
        "none.png": "none.png",
    }  # fmt: skip


@given(st.lists(st.from_regex(r"([ab](\.[ab5])?(\.png)?/)?[ab](\.[ab5])?(\.(png|jpg|PNG))?", fullmatch=True),
                unique=True, min_size=1, max_size=8), st.integers(0, 8))  # fmt: skip
def test_no_two_images_have_one_file(relative, split):
    """Whether a run is interrupted or not, and for one class or several."""
    whole = Names({})
    names = [whole.of(f"/in/{number}/x", name) for number, name in enumerate(relative)]
    bases = whole.bases()
    for labels in ([None], [5], [5, 7]):
        files = {
            result_file(folder, bases[name], label).casefold()
            for name in names for folder in ("maps", "overlays") for label in labels
        }  # fmt: skip
        assert len(files) == 2 * len(labels) * len(names)
        folders = {parent for file in files for parent in map(str, PurePosixPath(file).parents)}
        assert files.isdisjoint(folders)
    part = {f"/in/{n}/x": Known(name, bases[name]) for n, name in enumerate(names[:split])}
    again = Names(part)
    assert [again.of(f"/in/{n}/x", name) for n, name in enumerate(relative)] == names
    assert again.bases() == bases


# PNG ----------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_gray_png_has_its_pixels(pixels):
    with Image.open(io.BytesIO(gray_png(pixels))) as image:
        image.load()
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), pixels)
