"""``label``, ``threshold`` and ``merge`` with real Ray: their rows next to those of a Localizer."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.scale.processes import workers
from tests.scale import sources as made
from tests.scale.models import NAMES, small
from tests.support.command import invoke, run_command
from wsolrefine import Localizer
from wsolrefine.scale.cluster import Processes, cluster
from wsolrefine.scale.engine import Job, run
from wsolrefine.scale.localizing import Classes
from wsolrefine.scale.parts import done, write_parts
from wsolrefine.scale.plan import Plan, write_plan
from wsolrefine.scale.rows import RowFormat
from wsolrefine.scale.sources import find
from wsolrefine.scale.store import Store

pytestmark = [
    pytest.mark.usefixtures("ray_running"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of Ray, about itself
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

MODEL = ("--model", "tests.scale.models:small", "--layer", "features.3")
OPTIONS = (*MODEL, "--devices", 0, "--part-size", 4)


@pytest.fixture(scope="module")
def localizer():
    return Localizer(small(), layers=["features.3"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of several sizes, one on its side, one large, two that are none."""
    folder = tmp_path_factory.mktemp("photos")
    made.write_folder(folder, 7)
    made.picture(10, (1500, 1100)).save(folder / "large.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    made.picture(11, (40, 24)).save(folder / "turned.jpg", exif=exif)
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "empty.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def labels(photos, tmp_path_factory, ray_running):
    out = tmp_path_factory.mktemp("labels")
    printed = run_command("label", photos, "--out", out, *OPTIONS, "--batch-size", 1)
    assert "11 images, 11 rows, 3 parts; 2 images have an error" in printed
    return out


def rows_of(out):
    return pq.read_table(Path(out) / "labels").to_pylist()


def pixels(row):
    counts = {"size": [row["height"], row["width"]], "counts": row["mask"]}
    return coco_mask.decode(counts).astype(bool)


def contents(out):
    return {path.name: path.read_bytes() for path in (Path(out) / "labels").iterdir()}


def assert_is(row, found, place=0):
    """Compare a row with a Localization, bit by bit."""
    assert row["error"] is None
    assert (row["height"], row["width"]) == found.maps.shape[-2:]
    assert row["label"] == found.labels[0, place]
    assert row["class_name"] == NAMES[row["label"]]
    assert row["score"] == found.scores[0, place]
    mask = found.masks[0, place].numpy()
    if mask.any():
        assert row["box"] == found.boxes[0, place].tolist()
        assert row["area"] == mask.sum()
        assert np.array_equal(pixels(row), mask)
    else:
        assert (row["box"], row["mask"], row["area"]) == (None, None, 0)
    gray = np.frombuffer(row["map"], np.uint8).reshape(row["map_height"], row["map_width"])
    coarse = found.coarse[0, place].numpy()
    assert gray.shape == coarse.shape
    assert np.abs(gray / 255 - coarse).max() <= 0.5 / 255 + 1e-6


def test_rows_are_what_a_localizer_finds(photos, labels, localizer):
    rows = rows_of(labels)
    assert sorted(row["id"] for row in rows) == sorted(
        path.relative_to(photos).as_posix()
        for path in photos.rglob("*.*")
        if path.suffix in (".png", ".jpg") and path.name[0] != "."
    )
    for row in rows:
        assert row["path"] == f"{photos}/{row['id']}"
        if row["id"] in ("bad.jpg", "empty.png"):
            assert "expected an image, got" in row["error"]
            assert {row[name] for name in ("label", "score", "box", "mask", "width")} == {None}
        else:
            assert_is(row, localizer.open(row["path"]))
    assert sum(row["mask"] is not None for row in rows) > 5


def test_a_finished_run_does_nothing(photos, labels, monkeypatch):
    before = contents(labels)
    monkeypatch.setattr("wsolrefine.cli.choice.load_localizer", None)  # is not called
    printed = run_command("label", photos, "--out", labels, *OPTIONS, "--batch-size", 1)
    assert "11 images, 11 rows, 3 parts" in printed
    assert contents(labels) == before


def test_what_is_missing_is_done_again(photos, labels, tmp_path):
    before, out = contents(labels), tmp_path / "out"
    shutil.copytree(labels, out)
    (out / "labels/000001.parquet").unlink()
    (out / "labels/.wsolrefine-tmp-1").write_bytes(b"half a part")
    run_command("label", photos, "--out", out, *OPTIONS, "--batch-size", 1)
    assert contents(out) == before


def test_other_settings_are_refused(photos, labels, tmp_path):
    arguments = ("label", photos, "--out", labels, *OPTIONS)
    printed = run_command(*arguments, "--batch-size", 2, code=2)
    assert "batch_size: 1 then, 2 now" in printed
    out = tmp_path / "out"
    shutil.copytree(labels, out)
    (out / "labels/000001.parquet").unlink()
    record = out / "label.json"
    text = record.read_text()
    model = text.partition('"model": "')[2]
    record.write_text(
        text.replace('"model": "' + text.split('"model": "')[2][:64], '"model": "' + "0" * 64)
    )
    printed = run_command("label", photos, "--out", out, *OPTIONS, "--batch-size", 1, code=2)
    assert "one with other weights, names of classes or preprocessing" in printed
    assert model
    record.write_text("{}")
    printed = run_command("label", photos, "--out", out, *OPTIONS, "--batch-size", 1, code=1)
    assert "expected a file of wsolrefine label, got another one" in printed
    record.unlink()
    printed = run_command("label", photos, "--out", out, *OPTIONS, "--batch-size", 1, code=1)
    assert "expected label.json beside labels, got none" in printed


def test_classes_of_the_source_are_mapped(photos, tmp_path, localizer):
    """COCO: numbers and categories are kept, and each class of an image has a row."""
    made.write_coco(tmp_path / "train.json")
    out = tmp_path / "out"
    run_command("label", tmp_path / "train.json", "--root", photos, "--out", out, *OPTIONS)
    rows = rows_of(out)
    keys = [(row["id"], row["category"], row["label"]) for row in rows]
    assert keys == [(10, 0, 0), (11, 7, 1), (11, 0, 0), (12, None, None)]
    assert rows[3]["error"] == "the source names no class"
    found = localizer.open(photos / "1.png", torch.tensor([[1, 0]]))
    assert_is(rows[1], found, 0)
    assert_is(rows[2], found, 1)
    chosen = tmp_path / "chosen"
    run_command("label", tmp_path / "train.json", "--root", photos, "--out", chosen, *OPTIONS,
                "--classes", "kind 4, 5", "--no-maps")  # fmt: skip
    rows = rows_of(chosen)
    assert [row["label"] for row in rows] == [4, 5] * 3
    assert {row["category"] for row in rows} == {None}
    assert "map" not in rows[0]


def test_a_class_that_the_model_has_not(photos, tmp_path):
    made.write_coco(tmp_path / "train.json", 12)
    arguments = ("label", tmp_path / "train.json", "--root", photos, "--out", tmp_path / "out")
    assert "'kind 10'" in run_command(*arguments, *OPTIONS, code=2)
    assert not (tmp_path / "out/label.json").exists()
    printed = run_command(
        "label", photos, "--out", tmp_path / "b", *OPTIONS, "--classes", "source", code=2
    )
    assert "expected a source that names classes for source, got one without" in printed


def test_images_in_containers(tmp_path, localizer):
    for name in ("a.tar", "b.tar"):
        made.write_tar(tmp_path / name)
    made.write_tar(tmp_path / "c.tar", damaged=True)
    run_command("label", tmp_path / "*.tar", "--out", tmp_path / "tars", *OPTIONS)
    rows = rows_of(tmp_path / "tars")
    ids = [f"{tar}/s/{i:03d}" for tar in ("a.tar", "b.tar") for i in range(3)]
    assert [row["id"] for row in rows[:6]] == ids
    assert [row["label"] for row in rows[:6]] == [0, 1, 2] * 2
    assert rows[4]["path"] == f"tar://s/001.png::{tmp_path}/b.tar"
    assert "expected a tar, got a damaged one" in rows[-1]["error"]
    made.write_images_as_parquet(tmp_path / "a.parquet")
    run_command("label", tmp_path / "a.parquet", "--out", tmp_path / "rows", *OPTIONS)
    rows = rows_of(tmp_path / "rows")
    assert [(row["id"], row["label"]) for row in rows] == [(f"a.parquet#{i}", i) for i in range(5)]
    made.picture(2).save(tmp_path / "2.png")
    found = localizer.open(tmp_path / "2.png", torch.tensor([[2]]))
    assert np.array_equal(pixels(rows[2]), found.masks[0, 0].numpy())


def test_a_share_may_be_empty(tmp_path):
    """Of one tar, one of two shares has none: it ends without the work, and is merged."""
    made.write_tar(tmp_path / "a.tar")
    shares = [tmp_path / str(i) for i in range(2)]
    for number, out in enumerate(shares):
        run_command("label", tmp_path / "a.tar", "--out", out, *OPTIONS, "--shard", f"{number}/2")
    assert sorted(len(done(Store(out))) for out in shares) == [0, 1]
    assert "3 images, 3 rows, 1 parts" in run_command("merge", *shares, "--out", tmp_path / "all")
    assert [row["id"] for row in rows_of(tmp_path / "all")] == [f"a.tar/s/00{i}" for i in range(3)]


def test_an_error_of_the_model_stops_the_run_in_one_line(photos, tmp_path):
    failing = ("--model", "tests.scale.models:failing", "--method", "cam", "--devices", 0)
    printed = run_command("label", photos, "--out", tmp_path, *failing, "--workers", 1, code=1)
    assert "Error: ValueError: no image is good enough\n" in printed
    assert "Traceback" not in printed
    assert done(Store(tmp_path)) == []


def test_ray_that_does_not_start(photos, tmp_path, monkeypatch):
    def timed_out(address, workers):
        raise RuntimeError("The current node timed out during startup.")

    monkeypatch.setattr("wsolrefine.cli.label.work.cluster", timed_out)
    printed = run_command("label", photos, "--out", tmp_path / "out", *OPTIONS, code=1)
    assert "Error: Ray cannot be started or reached: The current node timed out" in printed


def test_shards_together_are_the_whole(photos, labels, tmp_path):
    shared = ("label", photos, *OPTIONS, "--batch-size", 1)
    for i in range(2):
        run_command(*shared, "--out", tmp_path / f"{i}", "--shard", f"{i}/2")
    whole, merged = rows_of(labels), ("merge", "--out", tmp_path / "all")
    assert "expected 2 shards, got none of 1" in run_command(*merged, tmp_path / "0", code=1)
    printed = run_command(*merged, tmp_path / "1", tmp_path / "0")
    assert "11 images, 11 rows" in printed
    found = rows_of(tmp_path / "all")
    key = lambda row: row["id"]  # noqa: E731
    assert sorted(found, key=key) == sorted(whole, key=key)
    before = contents(tmp_path / "all")
    (tmp_path / "all/labels/000001.parquet").unlink()
    run_command(*merged, tmp_path / "0", tmp_path / "1")
    assert contents(tmp_path / "all") == before
    assert "expected labels of a shard" in run_command(*merged, labels, code=1)
    assert "0/2 twice" in run_command(*merged, tmp_path / "0", tmp_path / "0", code=1)
    (tmp_path / "1/labels/000000.parquet").unlink()
    assert "parts, got 1 less" in run_command(*merged, tmp_path / "0", tmp_path / "1", code=1)
    shutil.copy(tmp_path / "0/labels/000000.parquet", tmp_path / "1/labels/000000.parquet")
    assert "in one part, got" in run_command(*merged, tmp_path / "0", tmp_path / "1", code=1)


def test_another_threshold_from_stored_maps(labels, tmp_path, localizer):
    out = tmp_path / "out"
    arguments = ("threshold", labels, "--threshold", 0.7, "--out", out, "--workers", 1)
    assert "11 images, 11 rows, 3 parts; 2 images have an error" in run_command(*arguments)
    before, after = rows_of(labels), rows_of(out)
    same = ("id", "path", "width", "height", "label", "score", "map", "error")
    assert [[r[k] for k in same] for r in before] == [[r[k] for k in same] for r in after]
    for row in after:
        if row["error"] is None:
            # A stored map is off by half a gray level at most, and so is one between its cells.
            low, high = (
                localizer.open(row["path"]).at(t, parts="all")
                for t in (0.7 - 1 / 510, 0.7 + 1 / 510)
            )
            mask = pixels(row) if row["mask"] else np.zeros(low.masks.shape[-2:], bool)
            assert not (mask & ~low.masks[0, 0].numpy()).any()
            if row["mask"] is None:
                assert not high.masks[0, 0].any()
    kept = contents(out)
    (out / "labels/000000.parquet").unlink()
    run_command(*arguments)
    assert contents(out) == kept
    assert "threshold: 0.7 then, 0.6 now" in run_command(
        "threshold", labels, "-t", 0.6, "--out", out, code=2
    )
    assert "expected another folder than DIR" in run_command(
        "threshold", labels, "-t", 0.6, "--out", labels, code=2
    )
    assert "threshold: expected" in run_command("threshold", labels, "-t", 1, "--out", out, code=2)
    assert "has none" in run_command("threshold", tmp_path, "-t", 0.5, "--out", out, code=2)


def test_three_stages_give_the_same_as_one(photos, tmp_path, localizer):
    """With a GPU some workers read, some hold the model, some write rows; here the GPU is the CPU."""
    rows = RowFormat(localizer.threshold, "largest", True, True, False, localizer.class_names)
    job = Job("files", 2, Classes(2), rows)
    for name, use in (("one", Processes(0, 2)), ("three", Processes(1, 1))):
        store = Store(tmp_path / name)
        facts = write_plan(store, find(str(photos)), 4)
        with Plan(store) as plan:
            tasks = plan.tasks(range(facts.parts), "files", 2, 1)
            parts = list(write_parts(store, run(tasks, localizer, job, use, device="cpu")))
        assert sum(part.images for part in parts) == 11
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_a_worker_that_is_killed(photos, labels, tmp_path, monkeypatch):
    """Ray starts another one, which does its tasks again: the rows are the same."""
    killed = []

    def kill_first(store, found):
        for rows in found:
            if not killed:
                killed.extend(workers(os.getpid()))
                for number in killed:
                    os.kill(number, signal.SIGKILL)
            yield rows

    monkeypatch.setattr(
        "wsolrefine.cli.label.work.write_parts", lambda s, f: write_parts(s, kill_first(s, f))
    )
    run_command("label", photos, "--out", tmp_path, *OPTIONS, "--batch-size", 1, "--workers", 1)
    assert killed
    assert contents(tmp_path) == contents(labels)


def test_what_is_wrong_is_said_in_one_line(photos, tmp_path):
    out = ("--out", tmp_path / "out")
    wrong = {
        ("label", tmp_path / "missing", *out, *MODEL): (2, "SOURCE: expected images, got"),
        ("label", photos, *out, *MODEL, "--shard", "2/2"): (2, "--shard: expected i/n"),
        ("label", photos, *out, *MODEL, "--parts", "instances"): (
            2,
            "--parts: expected largest or all",
        ),
        ("label", photos, *out, *MODEL, "--devices", 7): (2, "--devices: expected at most 1"),
        ("label", photos, "--out", photos / "0.png", *MODEL): (2, "--out: expected a folder"),
        ("label", "", *out): (2, "expected a path or an address"),
        ("label", photos, *out, "--method", "none"): (2, "--method: expected one of"),
        ("label", photos, *out, *MODEL, "--classes", "wren"): (2, "--classes: expected"),
    }
    for arguments, (code, message) in wrong.items():
        result = invoke(*arguments)
        assert result.exit_code == code, (arguments, result.output)
        assert message in " ".join(result.output.split()), arguments


def test_a_program_that_uses_ray_keeps_it(ray_running):
    import ray

    with cluster(None, 1):
        assert ray.is_initialized()
    assert ray.is_initialized()
    assert pa.__version__
