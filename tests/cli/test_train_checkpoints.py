"""What ``train`` does with checkpoints: damaged ones, temporary files, files of the user."""

import io
import os
import pickle
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
import torch

from tests.support.training import (  # noqa: F401
    BACKBONE,
    files_of,
    one_thread,
    run_command,
    same,
)
from wsolrefine.cli.hashes import digest
from wsolrefine.cli.train.checkpoints import SIGNATURE
from wsolrefine.cli.train.run_folder import write_durably

LAST = "checkpoints/epoch-002.ckpt"


@pytest.fixture(scope="module")
def whole(cub, tmp_path_factory):
    """A run of three epochs that kept all checkpoints."""
    out = tmp_path_factory.mktemp("whole") / "run"
    source = ["--dataset", "cub", "--root", cub.root, "--backbone", BACKBONE, "--device", "cpu"]
    small = ["--batch-size", 6, "--size", 40, "--crop", 32, "--set", "width=4"]
    run_command("train", "csoa", *source, *small, "--epochs", 3, "--keep-all", "--out", out)
    return out


# Damaged checkpoints ------------------------------------------------------------------------------


def rewritten(change, *, sign=False):
    """Return a kind of damage: the content is changed, and saved as ``torch.save`` does."""

    def damage(path):
        content = torch.load(path, weights_only=True)
        signature = content.pop(SIGNATURE)
        changed = change(content)
        content = content if changed is None else changed
        if sign:
            signature = signature | {"sha256": digest(content)}
        torch.save({**content, SIGNATURE: signature}, path)

    return damage


def spoil(value):
    def change(content):
        next(iter(content["state_dict"].values())).flatten()[0] = value

    return change


def without(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def reshape(content):
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = content["state_dict"][name][..., None]


def later(content):
    content["epoch"] += 1


def cut(length):
    return lambda path: os.truncate(path, length)


def half(path):
    os.truncate(path, path.stat().st_size // 2)


def repacked(change):
    """Return a kind of damage: the members of the archive are changed."""

    def damage(path):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return damage


def drop(end):
    def change(members):
        del members[next(name for name in members if name.endswith(end))]

    return change


def flip(path):
    """Change one bit of a weight."""
    content = torch.load(path, weights_only=True)
    weight = next(iter(content["state_dict"].values())).numpy().tobytes()[:8]
    data = bytearray(path.read_bytes())
    data[data.index(weight)] ^= 1
    path.write_bytes(data)


def replaced(make):
    """Return a kind of damage: something else is there instead of the file."""

    def damage(path):
        path.unlink()
        make(path)

    return damage


class Evil:
    def __reduce__(self):
        return os._exit, (3,)


def link(path):
    kept = path.parent.parent / "elsewhere.ckpt"
    shutil.copy(path, kept)
    path.unlink()
    path.symlink_to(kept)


DAMAGE = {
    "empty": (cut(0), "expected a checkpoint, got an empty file"),
    "one byte": (cut(1), "got a damaged file, or another one"),
    "half": (half, "got a damaged file, or another one"),
    "all but its end": (lambda p: os.truncate(p, p.stat().st_size - 1), "got a damaged file"),
    "more at its end": (lambda p: p.write_bytes(p.read_bytes() + bytes(99)), None),
    "zeros": (lambda p: p.write_bytes(bytes(p.stat().st_size)), "got a damaged file"),
    "one bit": (flip, "expected the content that was written, got a changed one"),
    "text": (lambda p: p.write_text("not a checkpoint"), "got a damaged file, or another one"),
    "a list": (lambda p: torch.save([1, 2], p), "a checkpoint of wsolrefine train, got another file"),
    "a tensor": (lambda p: torch.save(torch.ones(3), p), "wsolrefine train, got another file"),
    "a number": (lambda p: torch.save(1, p), "wsolrefine train, got another file"),
    "weights alone": (
        lambda p: torch.save(torch.load(p, weights_only=True)["state_dict"], p),
        "a checkpoint of wsolrefine train, got another file",
    ),
    "an old pickle": (lambda p: p.write_bytes(pickle.dumps({"epoch": 2})), "got a damaged file"),
    "code": (lambda p: torch.save(Evil(), p), "got a damaged file, or another one"),
    "code in a pickle": (lambda p: p.write_bytes(pickle.dumps(Evil())), "got a damaged file"),
    "no pickle": (repacked(drop("data.pkl")), "got a damaged file"),
    "a missing weight": (repacked(drop("data/0")), "got a damaged file"),
    "no signature": (
        lambda p: torch.save(
            {k: v for k, v in torch.load(p, weights_only=True).items() if k != SIGNATURE}, p
        ),
        "a checkpoint of wsolrefine train, got another file",
    ),
    "a signature of text": (
        lambda p: torch.save({**torch.load(p, weights_only=True), SIGNATURE: "x"}, p),
        "a checkpoint of wsolrefine train, got another file",
    ),
    "NaN": (rewritten(spoil(torch.nan)), "the content that was written, got a changed one"),
    "another weight": (rewritten(spoil(0.5)), "the content that was written, got a changed one"),
    "other shapes": (rewritten(reshape), "the content that was written, got a changed one"),
    "no optimizer": (rewritten(without("optimizer_states")), "got a changed one"),
    "no loops": (rewritten(without("loops")), "got a changed one"),
    "no epoch": (rewritten(without("epoch")), "got a changed one"),
    "no progress": (rewritten(without("loops", "fit_loop", "state_dict")), "got a changed one"),
    "another epoch": (rewritten(later), "got a changed one"),
    "a folder": (replaced(lambda p: p.mkdir()), "expected a file, got a folder"),
    "a pipe": (replaced(os.mkfifo), "expected a file, got a pipe"),
    "a link": (link, "expected a file, got a link"),
    "a link to nothing": (replaced(lambda p: p.symlink_to("nowhere")), "expected a file, got a link"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_run_goes_on_from_the_last_whole_checkpoint(train, whole, tmp_path, kind):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "csoa.safetensors").unlink()
    damage, reason = DAMAGE[kind]
    damage(out / LAST)
    said = train("csoa", "--resume", "--keep-all", data=None)
    if reason is None:  # what follows the archive is never read
        assert "Continuing after epoch 3." in said
    else:
        lines = [line for line in said.splitlines() if str(out / LAST) in line]
        (line,) = [line for line in lines if "kept as" not in line]
        assert reason in line
        assert "Continuing after epoch 2." in said
        assert "epoch 3 of 3" in said
    assert same(out / "csoa.safetensors", whole / "csoa.safetensors")
    assert (out / "losses.csv").read_bytes() == (whole / "losses.csv").read_bytes()
    # What is not recognisably ours is kept: the user may have put it there.
    kept = out / f"{LAST}.damaged"
    ours = reason is None or "got a changed one" in reason
    assert os.path.lexists(kept) == (not ours and kind != "a folder")
    mode = (out / LAST).lstat().st_mode
    assert stat.S_ISDIR(mode) if kind == "a folder" else stat.S_ISREG(mode)


def test_without_a_whole_checkpoint_a_run_begins_again(train, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for path in (out / "checkpoints").iterdir():
        half(path)
    said = train("csoa", "--resume", data=None)
    assert "3 could not be used" in said
    assert "No checkpoint is whole. Continuing from the beginning." in said
    assert same(out / "csoa.safetensors", whole / "csoa.safetensors")
    kept = [f"epoch-00{epoch}.ckpt.damaged" for epoch in range(3)]
    names = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert names == sorted(["epoch-002.ckpt", *kept])


def of_another_run(path):
    content = torch.load(path, weights_only=True)
    content[SIGNATURE]["run"] = "0" * 64
    torch.save(content, path)


def under_another_name(path):
    shutil.copy(path.with_name("epoch-001.ckpt"), path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (of_another_run, "expected a checkpoint of this run, got one of another run"),
        (under_another_name, "expected epoch 2 as in its name, got 1"),
        (rewritten(reshape, sign=True), "expected the weights of this recipe on this backbone"),
    ],
)
def test_a_whole_checkpoint_of_something_else_is_refused(train, whole, tmp_path, change, reason):
    """Nothing is replaced, though an earlier checkpoint of this run is whole."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    change(out / LAST)
    before = files_of(out)
    said = train("csoa", "--resume", data=None, code=1)
    assert said.startswith(f"Error: {out / LAST}: {reason}")
    assert said.count("\n") == 1
    assert files_of(out) == before


def test_a_file_that_may_not_be_read_is_not_replaced(train, whole, tmp_path, monkeypatch):
    """It may be whole: then its epochs would be lost."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    before, read = files_of(out), Path.read_bytes

    def closed(path):
        if path == out / LAST:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", closed)
        said = train("csoa", "--resume", data=None, code=1)
    assert said == f"Error: {out / LAST}: Permission denied\n"
    assert files_of(out) == before


def test_a_checkpoint_that_cannot_be_read(train, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    read = Path.read_bytes

    def failing(path):
        if path == out / LAST:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert f"{out / LAST}: Input/output error" in train("csoa", "--resume", data=None)
    assert same(out / "csoa.safetensors", whole / "csoa.safetensors")


@pytest.mark.parametrize("value", [1, -0.0, True, "a", None, (1, 2), {"a": [torch.ones(2)]}])
def test_a_digest_knows_values_that_are_equal_and_yet_different(value):
    others = [0, 0.0, 1.0, False, "b", b"a", (), [1, 2], (1, (2,)), {"a": torch.ones(2)},
              {"a": [torch.ones(2, 1)]}, {"a": [torch.ones(2, dtype=torch.int32)]}]  # fmt: skip
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    assert digest(torch.load(buffer, weights_only=True)) == digest(value)
    assert digest(value) not in [digest(other) for other in others]


# What else is in the folder -----------------------------------------------------------------------


def test_the_checkpoint_before_is_kept_until_the_new_one_is_whole(train, tmp_path, monkeypatch):
    def full(path, data):
        if path.name == "epoch-001.ckpt":
            path.with_name(".wsolrefine-tmp-1-1.ckpt").write_bytes(
                data[:100]
            )  # as a kill leaves it
            raise OSError(28, "No space left on device")
        write_durably(path, data)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("wsolrefine.cli.train.checkpoints.write_durably", full)
        said = train("csoa", "--epochs", 2, code=1)
    assert f"cannot write to {out} (No space left on device)" in said
    assert "--resume" in said
    assert (out / "checkpoints/epoch-000.ckpt").is_file()
    train("csoa", "--resume", data=None)
    train("csoa", "--epochs", 2, out=tmp_path / "at once")
    assert files_of(out).keys() == files_of(tmp_path / "at once").keys()
    assert same(out / "csoa.safetensors", tmp_path / "at once/csoa.safetensors")


def test_temporary_files_of_a_killed_run_are_removed_and_no_others(train, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    ours = [".wsolrefine-tmp-99-3.json", "checkpoints/.wsolrefine-tmp-99-4.ckpt"]
    theirs = [".tmp-notes.txt", "checkpoints/.wsolrefine-tmp-mine", "notes.txt",
              "checkpoints/epoch-000-good.ckpt", "checkpoints/epoch-0.ckpt"]  # fmt: skip
    for name in ours + theirs:
        (out / name).write_text("x")
    train("csoa", "--resume", data=None)
    assert not [name for name in ours if (out / name).exists()]
    assert all((out / name).read_text() == "x" for name in theirs)


def test_a_kill_between_writing_and_removing_leaves_one_checkpoint(train, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "checkpoints/epoch-000.ckpt").unlink()
    train("csoa", "--resume", data=None)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["epoch-002.ckpt"]


@pytest.mark.parametrize("name", ["csoa.safetensors", "losses.csv", "checkpoints/mine.ckpt"])
def test_files_of_the_user_are_not_replaced(train, tmp_path, name):
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    said = train("csoa", "--epochs", 1, code=2)
    assert "--out: expected a folder without other files of these names, got" in said
    assert files_of(tmp_path / "run") == {name: b"mine"}


def test_other_files_of_the_user_do_not_matter(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    train("csoa", "--epochs", 1)
    assert (tmp_path / "run/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("csoa.safetensors", os.mkdir, "csoa.safetensors: expected a file, got something else"),
        ("losses.csv", os.mkdir, "losses.csv: expected a file, got something else"),
        ("losses.csv", os.mkfifo, "losses.csv: expected a file, got something else"),
        ("checkpoints", os.mkfifo, "checkpoints: expected a folder, got something else"),
    ],
)
def test_a_folder_where_a_file_is_expected(train, whole, tmp_path, name, make, message):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    path = out / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)
    assert message in train("csoa", "--resume", data=None, code=1)


@pytest.mark.parametrize("name", ["csoa.safetensors", "losses.csv"])
@pytest.mark.parametrize("content", [b"mine", b"0,2,0.5,9\n", b"\xff\x00", "a link"])
def test_results_that_are_not_ours_are_not_replaced(train, whole, tmp_path, name, content):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    half(out / LAST)
    path = out / name
    if content == "a link":
        path.symlink_to(path.rename(tmp_path / name))
    else:
        path.write_bytes(content)
    before = files_of(out)
    said = train("csoa", "--resume", data=None, code=2)
    assert f"--out: expected a folder without other files of these names, got {name}" in said
    assert files_of(out) == before
    assert path.is_symlink() == (content == "a link")


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_files_named_like_checkpoints_are_neither_replaced_nor_removed(train, tmp_path, epoch):
    out = tmp_path / "run"
    train("csoa", "--epochs", 3, "--keep-all")
    for path in (out / "checkpoints").iterdir():
        if path.name >= f"epoch-00{epoch}":
            path.unlink()
    mine = out / f"checkpoints/epoch-00{epoch}.ckpt"
    mine.write_text("mine")
    train("csoa", "--resume", data=None)
    texts = [path.read_bytes() for path in (out / "checkpoints").iterdir()]
    assert b"mine" in texts


def test_a_file_of_the_user_in_the_place_of_an_earlier_checkpoint_stays(train, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for epoch in (0, 1):
        (out / f"checkpoints/epoch-00{epoch}.ckpt").write_text("mine")
    train("csoa", "--resume", data=None)
    for epoch in (0, 1):
        assert (out / f"checkpoints/epoch-00{epoch}.ckpt").read_text() == "mine"


@pytest.mark.parametrize("table", ["", "epoch,step,loss\n0,1", "epoch,step,loss\r\n\xff\n9,1,2\n"])
def test_a_table_of_losses_that_is_none(train, whole, tmp_path, table):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "losses.csv").write_bytes(table.encode("latin-1"))
    half(out / LAST)
    train("csoa", "--resume", data=None)
    rows = (out / "losses.csv").read_text().splitlines()
    assert rows[-1] == (whole / "losses.csv").read_text().splitlines()[-1]


@pytest.mark.parametrize("folder", ["a full one", "none"])
def test_the_folder_of_temporary_files_is_not_used(train, tmp_path, monkeypatch, folder):
    """A full or missing TMPDIR does not matter, because every file is written beside its place."""
    monkeypatch.setenv("TMPDIR", "/dev/full" if folder == "a full one" else "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    train("csoa", "--epochs", 1)
