"""A user's files are neither replaced, nor deleted, nor passed over; a killed run can be continued."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from PIL import Image
from torch import nn

from tests.cli.test_wrong_values import MODEL
from tests.support import photographs, zoo
from tests.support.command import run_command as call
from tests.support.processes import ROOT
from wsolrefine import Localizer, save_onnx
from wsolrefine.cli import files
from wsolrefine.cli.journal import Journal, writing
from wsolrefine.cli.refine import batch, pipeline
from wsolrefine.cli.refine.coco import RESULTS, Results
from wsolrefine.cli.refine.names import LONGEST, Names
from wsolrefine.cli.refine.outputs import FOLDERS, result_file
from wsolrefine.export import write_masks
from wsolrefine.localization import onnx_file
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Csoa, RecipeMetadata, save_recipe

JOURNAL, LINES = f".{RESULTS}.started", f".{RESULTS}.finished"


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.linear_gradient("L").resize((20, 20)).save(path)
    return path


def below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def refine(tmp_path):
    def run(*arguments, out=tmp_path / "out", code=0):
        options = ["--model", MODEL, "--threshold", "0", "--out", out]
        return call("refine", *arguments, *options, code=code)

    return run


# Files of the user --------------------------------------------------------------------------------


@pytest.mark.parametrize("mine", ["maps/a.png", "masks/a.png", "overlays/a.7.jpg"])
@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_files_that_refine_has_not_written_are_named_and_kept(refine, tmp_path, mine, option):
    picture(tmp_path / "a.jpg")
    (tmp_path / "out" / mine).parent.mkdir(parents=True)
    (tmp_path / "out" / mine).write_text("mine")
    said = refine(tmp_path / "a.jpg", *option, code=2)
    assert f"got {mine} in {tmp_path / 'out'}, which this command has not written there" in said
    assert below(tmp_path / "out") == [mine]
    assert (tmp_path / "out" / mine).read_text() == "mine"


MINE = ["my notes", "5\n", '"one"\nand mine\n', "[]\n", '{"started": 1}\n']


@pytest.mark.parametrize("text", MINE)
@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_a_file_named_like_the_journal_of_refine_is_kept(refine, tmp_path, text, option):
    picture(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / JOURNAL).write_text(text)
    assert JOURNAL in refine(tmp_path / "a.jpg", *option, code=2)
    assert below(tmp_path / "out") == [JOURNAL]
    assert (tmp_path / "out" / JOURNAL).read_text() == text


@pytest.mark.parametrize("text", MINE)
def test_a_file_named_like_the_lines_of_refine_is_kept(refine, tmp_path, text):
    picture(tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LINES).write_text(text)
    assert f"got {LINES} in" in refine(tmp_path / "a.jpg", code=2)
    assert (tmp_path / "out" / LINES).read_text() == text


@pytest.mark.parametrize("text", MINE)
def test_a_file_named_like_the_journal_of_evaluate_is_kept(tmp_path, text):
    (tmp_path / ".evaluation.json.started").write_text(text)
    with (
        pytest.raises(typer.Exit),
        writing(tmp_path, "evaluation.json", ["evaluation.json", "errors.png"]),
    ):
        raise AssertionError("nothing may be written")
    assert (tmp_path / ".evaluation.json.started").read_text() == text


@pytest.mark.parametrize("text", ["", '"a', '"errors.png"\n"eval', '"a"\n"er"errors.png"\n'])
def test_a_journal_that_a_killed_run_has_left_is_continued(tmp_path, text):
    journal = Journal(tmp_path, "evaluation.json")
    journal.path.write_text(text)
    assert journal.is_ours()
    with writing(tmp_path, "evaluation.json", ["evaluation.json", "errors.png"]):
        pass
    assert not journal.path.exists()


def test_other_files_beside_the_results_stay(refine, tmp_path):
    picture(tmp_path / "a.jpg")
    mine = ["maps/holiday.png", "maps/.tmp-1-2.png", "notes.txt", "masks/a.png.bak"]
    for name in mine:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    refine(tmp_path / "a.jpg")
    refine(tmp_path / "a.jpg", "--overwrite", "--parts", "all")
    for name in mine:
        assert (tmp_path / "out" / name).read_text() == "mine"


def test_photographs_in_folders_named_like_those_of_results_are_refined(refine, tmp_path):
    for name in ("a.jpg", *(f"{folder}/atlas.jpg" for folder in FOLDERS)):
        picture(tmp_path / "in" / name)
    assert "4 refined" in refine(tmp_path / "in", out=tmp_path / "in")  # both are one folder
    assert "0 refined; 4 skipped" in refine(tmp_path / "in", out=tmp_path / "in")
    picture(tmp_path / "in/masks/new.jpg")
    assert "1 refined; 4 skipped" in refine(tmp_path / "in", out=tmp_path / "in")
    assert "5 refined" in refine(tmp_path / "in")  # and not the results, either


def test_results_of_a_damaged_file_are_passed_over_aloud(refine, tmp_path):
    picture(tmp_path / "in/a.jpg")
    refine(tmp_path / "in", out=tmp_path / "in")
    (tmp_path / "in/wsolrefine.json").write_text("{")
    said = refine(tmp_path / "in", code=1)
    assert "1 refined" in said
    assert f"{tmp_path / 'in'}: maps, masks, overlays are passed over" in said


@pytest.mark.parametrize("name", ["demo.json", "demo.png"])
def test_the_demo_keeps_files_of_these_names(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("mine")
    said = call("demo", "--out", tmp_path, code=2)
    assert f"got {name} in {tmp_path}" in said
    assert below(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_the_demo_replaces_its_own_files(tmp_path, monkeypatch):
    with photographs.shared(monkeypatch):
        monkeypatch.setattr("wsolrefine.cli.demo.command.PHOTOGRAPHS", ("coffee.png",))
        call("demo", "--out", tmp_path)
        call("demo", "--out", tmp_path, "--threshold", "0.9")
    assert json.loads((tmp_path / "demo.json").read_text())["thresholds"]["balanced"] == 0.9
    assert below(tmp_path) == ["demo.json", "demo.png"]


# Names --------------------------------------------------------------------------------------------


def test_a_result_is_never_where_a_folder_of_results_is_needed(refine, tmp_path):
    for name in (
        "a.jpg",
        "a.png/b.jpg",
        "a.3.png/c.jpg",
        "d.png",
        "D.PNG/e.jpg",
        "f.jpg/g.png",
        "f.gif",
    ):
        picture(tmp_path / "in" / name)
    assert "7 refined" in refine(tmp_path / "in")
    assert "7 refined" in refine(tmp_path / "in", "--classes", "top3", out=tmp_path / "three")
    assert "0 refined; 7 skipped" in refine(tmp_path / "in")


def test_names_are_possible_on_every_disk_and_differ():
    names = Names({})
    odd = ["a\nb.png", "a\\b.png", "C:b.png", "x" * 255, "x" * 254 + "y", "dir./z.png", "a_b.png"]
    found = [names.of(f"/in/{name}", name) for name in odd]
    assert len(set(found)) == len(odd)
    assert max(len(part) for name in found for part in name.split("/")) <= LONGEST
    assert [names.of(f"/in/{name}", name) for name in odd] == found
    assert not {"\n", "\\", ":"} & set("".join(found))


# Killed runs --------------------------------------------------------------------------------------


def test_what_a_killed_run_left_is_removed_and_nothing_else(refine, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "in" / name)
    refine(tmp_path / "in/a.jpg")
    before = below(tmp_path / "out")
    out = tmp_path / "out"
    for name in ("maps/b.png", "masks/b.png", "maps/c.1.png"):
        (out / name).write_text("half")
    (out / "maps/.wsolrefine-tmp-1-2.png").write_text("half")
    (out / ".wsolrefine-tmp-1-3.json").write_text("half")
    (out / "maps/mine.png").write_text("mine")
    assert "which this command has not written" in refine(tmp_path / "in", code=2)
    Journal(out, RESULTS).add(["a", "b", "c"])
    with (out / JOURNAL).open("a") as file:
        file.write('"mine')  # a line that was not written to its end
    assert "1 refined; 1 skipped" in refine(tmp_path / "in")
    assert sorted([*before, *(result_file(f, "b") for f in FOLDERS), "maps/mine.png"]) == below(out)


@pytest.mark.parametrize("left", [1, 0])
def test_batches_that_a_killed_run_has_finished_are_not_done_again(refine, tmp_path, left):
    """It was killed before it wrote the results file at its end."""
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "in" / name)
    refine(tmp_path / "in/a.jpg")
    out = tmp_path / "out"
    before = (out / RESULTS).read_bytes()
    refine(tmp_path / "in")
    whole, result = (out / RESULTS).read_bytes(), dict(Results.read(out).images)
    (out / RESULTS).write_bytes(before)
    earlier = Results.read(out)
    earlier.add([{k: v for k, v in result["b.jpg"].items() if k != "id"}])
    Journal(out, RESULTS).add(["b"])
    if left:
        picture(tmp_path / "in/c.jpg")
        assert "1 refined; 2 skipped" in refine(tmp_path / "in")
        assert len(json.loads((out / RESULTS).read_text())["images"]) == 3
    else:
        assert "0 refined; 2 skipped" in refine(tmp_path / "in")
        assert (out / RESULTS).read_bytes() == whole
    assert not {JOURNAL, LINES} & set(below(out))


def test_what_a_run_left_is_removed_when_no_image_is_left(refine, tmp_path):
    """It was killed between the last results file and the end of the journal."""
    picture(tmp_path / "in/a.jpg")
    refine(tmp_path / "in")
    out, before = tmp_path / "out", below(tmp_path / "out")
    Journal(out, RESULTS).add(["a", "b"])
    for name in (".wsolrefine-tmp-1-2.json", "maps/.wsolrefine-tmp-1-3.png", "masks/b.png"):
        (out / name).write_text("half")
    assert "0 refined; 1 skipped" in refine(tmp_path / "in")
    assert below(out) == before


def test_a_batch_is_finished_or_begun_anew(refine, tmp_path, monkeypatch):
    """Rounding depends on the size of a batch, so the next run must have the same batches."""
    for number in range(7):
        picture(tmp_path / f"in/{number}.jpg")
    write, finish, sizes = batch._write, pipeline.finish, []

    def interrupted(plan, loaded, *found):
        if loaded.found.name == "4.jpg":
            raise KeyboardInterrupt
        return write(plan, loaded, *found)

    def counted(plan, loaded, pool):
        sizes.append(len(loaded))
        return finish(plan, loaded, pool)

    monkeypatch.setattr(pipeline, "finish", counted)
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_write", interrupted)
        assert "4 left" in refine(tmp_path / "in", "--batch-size", 3, code=130)
    names = [result_file(folder, str(number)) for folder in FOLDERS for number in range(3)]
    assert below(tmp_path / "out") == [*names, RESULTS]
    sizes.clear()
    assert "4 refined; 3 skipped" in refine(tmp_path / "in", "--batch-size", 3)
    assert sizes == [3, 1]
    (tmp_path / "out/maps/4.png").unlink()
    assert "1 refined; 6 skipped" in refine(tmp_path / "in", "--batch-size", 3)
    assert sizes == [3, 1, 1]


@pytest.mark.parametrize("line", ['"../../victim"', "5", "[" * 10**5, "\x00", '"/victim"', "null"])
def test_a_journal_deletes_nothing_outside(refine, tmp_path, line):
    picture(tmp_path / "a.jpg")
    (tmp_path / "victim.png").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / JOURNAL).write_text(line + "\n")
    ours = line.startswith('"')  # other lines are not those of a journal: the file is kept
    said = refine(tmp_path / "a.jpg", code=0 if ours else 2)
    assert ("1 refined" if ours else JOURNAL) in said
    assert (tmp_path / "victim.png").read_text() == "mine"
    assert (JOURNAL in below(tmp_path / "out")) == (not ours)


def test_a_temporary_file_is_never_that_of_a_user(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_numbers", iter(range(9)))
    taken = tmp_path / f".wsolrefine-tmp-{os.getpid()}-0.png"
    taken.write_text("mine")
    with files.replacing(tmp_path / "x.png") as temporary:
        assert temporary != taken
        temporary.write_text("new")
    assert taken.read_text() == "mine"


def write_a_picture(folder):
    with files.replacing(folder / "x.png"):
        pass


def write_a_recipe(folder):
    layers, channels = ("features.1", "features.2", "features.4"), (8, 12, 16)
    recipe = Csoa(FeatureList(zoo.MobileNetV2(), layers), channels, 2, width=4)
    metadata = RecipeMetadata(
        backbone="mine:model", layers=layers, channels=channels, num_classes=2
    )
    save_recipe(folder / "x.safetensors", recipe, metadata)


def write_a_graph(folder):
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), *head).eval()
    save_onnx(Localizer(model, refine="cam"), folder / "x.onnx", size=(32, 32))


def write_a_folder(folder):
    write_masks([], folder / "x", names=["cat"])


@pytest.mark.parametrize(
    ("method", "write"),
    [
        ("open", write_a_picture),
        ("touch", write_a_recipe),
        ("touch", write_a_graph),
        ("mkdir", write_a_folder),
    ],
)
def test_ctrl_c_right_after_a_temporary_file_was_made_leaves_none(
    method, write, tmp_path, monkeypatch
):
    made, done = [], getattr(Path, method)

    def interrupted(path, *arguments, **options):
        found = done(path, *arguments, **options)
        if not path.name.startswith(".wsolrefine-tmp-"):
            return found
        made.append(path)
        if found is not None:
            found.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_file, "require_packages", lambda: None)
    monkeypatch.setattr(Path, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert len(made) == 1
    assert not [*tmp_path.iterdir()]


def _started(*arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "wsolrefine", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


SECONDS = [0.2, pytest.param(1.0, marks=pytest.mark.slow), 2.5, 4.5]


@pytest.mark.parametrize("seconds", SECONDS)
def test_ctrl_c_is_one_line_in_every_phase(tmp_path, seconds):
    for number in range(200):
        picture(tmp_path / f"in/{number}.jpg")
    running = _started("refine", "in", "--model", MODEL, "--batch-size", "1", folder=tmp_path)
    try:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    finally:
        running.kill()
    if running.returncode == -signal.SIGINT:  # Python itself had not started
        assert str(ROOT / "wsolrefine") not in said
        return
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert not [path for path in below(tmp_path) if "tmp-" in path or JOURNAL in path]


@pytest.mark.usefixtures("heard")
def test_a_second_interrupt_does_not_stop_the_clearing_up(tmp_path, monkeypatch):
    """Else files would be left that no journal names, and the next run would not touch."""
    unlink = type(tmp_path).unlink

    def interrupted(path, **options):
        os.kill(os.getpid(), signal.SIGINT)
        unlink(path, **options)

    def write():
        with writing(tmp_path, "all.json", ["all.json", "a.png"]):
            (tmp_path / "a.png").touch()
            monkeypatch.setattr(type(tmp_path), "unlink", interrupted)
            raise KeyboardInterrupt("first")

    with pytest.raises(KeyboardInterrupt, match="first"):
        write()
    assert list(tmp_path.iterdir()) == []


# A full disk --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_leaves_what_the_next_run_continues(refine, small_disk, tmp_path):
    for number in range(6):
        Image.effect_noise((600, 600), 90).save(picture(tmp_path / f"in/{number}.png"))
    said = refine(tmp_path / "in", out=small_disk / "out", code=1)
    assert "No space left on device" in said
    found = json.loads((small_disk / "out/wsolrefine.json").read_text())
    listed = [file for image in found["images"] for file in image["files"]]
    assert below(small_disk / "out") == sorted([*listed, "wsolrefine.json"])
    for file in listed:
        with Image.open(small_disk / "out" / file) as image:
            image.load()
    done = len(found["images"])
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    said = refine(tmp_path / "in", out=small_disk / "out")
    assert f"{6 - done} refined" in said
    refine(tmp_path / "in", out=tmp_path / "at once")
    names = below(tmp_path / "at once")
    assert names == below(small_disk / "out")
    for name in names:
        if name.startswith("maps"):
            content = (small_disk / "out" / name).read_bytes()
            assert content == (tmp_path / "at once" / name).read_bytes()
