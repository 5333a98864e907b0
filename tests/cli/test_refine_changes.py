"""``refine`` where something changes between two runs, or while one runs: images, and the model."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest
import torch
from PIL import Image
from torch import nn

from tests.support.command import run_command
from wsolrefine import Classifier, Localizer, Preprocess
from wsolrefine.cli.hashes import localizer_hash
from wsolrefine.cli.refine import batch, loop
from wsolrefine.cli.refine.coco import RESULTS

FIRST = {"seed": 0, "names": ["wren", "robin", "kite"], "side": 32}
chosen = dict(FIRST)


def build():
    """The user's model, whose file may have been edited: it is as ``chosen`` says."""
    torch.manual_seed(chosen["seed"])
    body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, len(chosen["names"]))
    size = chosen["side"], chosen["side"]
    return Classifier(nn.Sequential(*body, *head).eval(), Preprocess(size), chosen["names"], "own")


@pytest.fixture(autouse=True)
def first_model(monkeypatch):
    for key, value in FIRST.items():
        monkeypatch.setitem(chosen, key, value)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        picture(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def refine(folder, tmp_path):
    def call(*arguments, images=folder, code=0):
        options = ["--model", f"{__name__}:build", "--threshold", "0", "--out", tmp_path / "out"]
        return " ".join(run_command("refine", images, *options, *arguments, code=code).split())

    return call


def picture(path, size=(20, 20)):
    Image.linear_gradient("L").resize(size).save(path)


def content(tmp_path):
    return json.loads((tmp_path / "out" / RESULTS).read_text())


def meanwhile(monkeypatch, action):
    """Do something after the images of a batch have been read and before their results are."""
    finish = loop.finish

    def later(*arguments):
        action()
        return finish(*arguments)

    monkeypatch.setattr(loop, "finish", later)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_leaves_nothing_that_the_next_run_does_not_know(
    refine, folder, tmp_path, monkeypatch, sent
):
    """The first one comes while results are written; the second while those are waited for."""
    for name in "cdefgh":
        picture(folder / f"{name}.png")
    write = batch._write

    def interrupted(plan, loaded, *found):
        if loaded.found.name == "a.png":
            for _ in range(2):
                os.kill(os.getpid(), sent)
                time.sleep(0.1)
        else:
            time.sleep(0.3)
        return write(plan, loaded, *found)

    monkeypatch.setattr(batch, "_write", interrupted)
    refine(code=130)
    for thread in threading.enumerate():  # as at the end of a process
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join()
    monkeypatch.setattr(batch, "_write", write)
    assert "8 refined" in refine()
    listed = {file for image in content(tmp_path)["images"] for file in image["files"]}
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    assert found == listed


# Images -------------------------------------------------------------------------------------------


def test_an_image_replaced_while_it_is_processed_is_processed_again(
    refine, folder, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        meanwhile(patch, lambda: picture(folder / "a.png", (40, 30)))
        refine()
    assert "1 refined; 1 skipped" in refine()
    image = content(tmp_path)["images"][0]
    assert (image["width"], image["height"]) == (40, 30)
    with Image.open(tmp_path / "out/masks/a.png.png") as mask:
        assert mask.size == (40, 30)
    assert "2 skipped" in refine()


def test_an_image_replaced_while_it_is_decoded_is_processed_again(
    refine, folder, tmp_path, monkeypatch
):
    reading = batch.reading

    @contextlib.contextmanager
    def replaced(path):
        with reading(path) as image:
            picture(folder / "a.png", (40, 30))
            yield image

    with monkeypatch.context() as patch:
        patch.setattr(batch, "reading", replaced)
        refine(images=folder / "a.png")
    assert content(tmp_path)["images"][0]["width"] == 20
    assert "1 refined" in refine(images=folder / "a.png")
    assert content(tmp_path)["images"][0]["width"] == 40


def test_an_image_deleted_while_it_is_processed_does_not_end_the_run(
    refine, folder, tmp_path, monkeypatch
):
    meanwhile(monkeypatch, lambda: (folder / "a.png").unlink(missing_ok=True))
    assert "2 refined" in refine("--batch-size", 1)
    assert [image["file_name"] for image in content(tmp_path)["images"]] == ["a.png", "b.png"]


def test_an_image_deleted_before_it_is_read_is_named_and_the_others_are_done(
    refine, folder, monkeypatch
):
    load = batch.load

    def gone(plan, found):
        (folder / "a.png").unlink(missing_ok=True)
        return load(plan, found)

    monkeypatch.setattr(loop, "load", gone)
    said = refine("--batch-size", 1, code=1)
    assert "1 refined" in said
    assert "a.png: no such file or directory" in said
    assert "cannot write" not in said


def test_an_error_of_the_system_in_the_model_is_not_one_of_writing(refine, tmp_path, monkeypatch):
    real, calls = Localizer.class_maps, []

    def failing(self, *arguments, **options):
        calls.append(1)
        if len(calls) > 1:  # not the trial
            raise FileNotFoundError(2, "No such file or directory", "prompts.txt")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Localizer, "class_maps", failing)
    said = refine(code=1)
    assert "prompts.txt: No such file or directory" in said
    assert "cannot write" not in said


def test_a_folder_that_cannot_be_written_to_is_named(refine, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wsolrefine.cli.journal.Journal.add", full)
    assert f"{tmp_path / 'out'}: cannot write to it (No space left on device)" in refine(code=1)


def test_results_of_classes_that_an_image_had_before_are_gone_when_the_journal_ends(
    refine, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    refine("--classes", "top2")
    before = content(tmp_path)["images"][0]["files"]
    used = {int(file.split(".")[-2]) for file in before}
    labels = torch.tensor([[*({0, 1, 2} - used), min(used)]])
    real, clear, seen = Localizer.class_maps, loop.Journal.clear, []

    def others(self, images, *_, **options):  # the image shows something else now
        return real(self, images, labels.expand(len(images), -1))

    picture(folder / "a.png", (40, 30))

    def kept(self):
        seen.append({p.relative_to(tmp_path / "out").as_posix() for p in maps(tmp_path)})
        clear(self)

    with monkeypatch.context() as patch:
        patch.setattr(Localizer, "class_maps", others)
        patch.setattr(loop.Journal, "clear", kept)
        assert "1 refined; 1 skipped" in refine("--classes", "top2")
    listed = {file for image in content(tmp_path)["images"] for file in image["files"]}
    assert set(before) - listed
    assert seen[1:]
    assert all(found == {file for file in listed if file[:5] == "maps/"} for found in seen[1:])
    picture(folder / "a.png", (30, 40))
    assert "1 refined; 1 skipped" in refine("--classes", "top2")


def maps(tmp_path):
    return [path for path in (tmp_path / "out/maps").rglob("*") if path.is_file()]


# The model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"seed": 1}, "weights or preprocessing"),
        ({"side": 40}, "weights or preprocessing"),
        ({"names": ["wren", "robin", "crane"]}, "names of classes"),
        ({"names": ["wren", "robin"]}, "names of classes"),
        ({"names": ["robin", "wren", "kite"]}, "names of classes"),
    ],
)
def test_results_of_another_model_of_the_same_name_are_not_mixed(
    refine, folder, tmp_path, changed, what
):
    refine()
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    picture(folder / "c.png")
    chosen.update(changed)
    said = refine(code=2)
    assert f"--out: expected the model of the 2 results in {tmp_path / 'out'}, got" in said
    assert f"one with other {what}" in said
    after = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert after == before
    assert "1 refined" in refine("--overwrite", images=folder / "c.png")
    assert [image["file_name"] for image in content(tmp_path)["images"]] == ["c.png"]
    assert len(maps(tmp_path)) == 1
    assert "2 refined; 1 skipped" in refine()


def test_the_same_model_goes_on(refine, folder, tmp_path):
    refine()
    picture(folder / "c.png")
    assert "1 refined; 2 skipped" in refine()
    assert content(tmp_path)["info"]["model"] == localizer_hash(Localizer(build()))


def test_results_without_a_hash_are_compared_by_their_classes(refine, folder, tmp_path):
    refine()
    picture(folder / "c.png")
    old = content(tmp_path)
    del old["info"]["model"]
    path = tmp_path / "out" / RESULTS
    path.write_text(json.dumps(old))
    chosen["names"] = ["wren", "robin", "crane"]
    assert "names of classes" in refine(code=2)
    chosen["names"] = FIRST["names"]
    assert "1 refined; 2 skipped" in refine()
    assert len(content(tmp_path)["info"]["model"]) == 64


@pytest.mark.parametrize("value", [5, "", "x" * 64, None, ["a"]])
def test_a_hash_that_is_none_is_refused(refine, tmp_path, value):
    refine()
    altered = content(tmp_path)
    altered["info"]["model"] = value
    (tmp_path / "out" / RESULTS).write_text(json.dumps(altered))
    assert "not a results file of wsolrefine (info: model: expected" in refine(code=2)


def test_the_hash_takes_weights_of_every_kind():
    class Odd(nn.Module):
        def __init__(self, value):
            super().__init__()
            for number, kind in enumerate((torch.bfloat16, torch.complex64, torch.bool)):
                self.register_buffer(f"b{number}", torch.ones(2, 0 if number else 3).to(kind))
            self.register_buffer("sparse", torch.tensor([0.0, value]).to_sparse())
            self.register_buffer("scalar", torch.tensor(1))

        def get_extra_state(self):
            return object()

    assert localizer_hash(Localizer(Odd(1.0))) == localizer_hash(Localizer(Odd(1.0)))
    assert localizer_hash(Localizer(Odd(1.0))) != localizer_hash(Localizer(Odd(2.0)))
