"""20 kills of each command at random moments: nothing is lost, nothing is left.

``python -m pytest -m slow -s tests/slow`` prints every kill; with another number in WSOLREFINE_KILLS
the moments are others. A few kills are among the usual tests.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from benchmarks.scale.processes import workers
from tests.support import miniature
from tests.support.kills import contents, kill_and_continue, run
from tests.support.zoo import MobileNetV2, seeded
from wsolrefine import Classifier, Preprocess

MODEL = "tests.support.zoo:MobileNetV2"


def small_classifier(name):
    """Take the place of the demo's classifier, which needs most of its time."""
    return Classifier(seeded(MobileNetV2), Preprocess((64, 64)), None, name)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        generator = np.random.default_rng(number)
        small = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        small.resize((160 + number, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return miniature.write_cub(tmp_path_factory.mktemp("cub"), count=8)


@pytest.fixture
def refine(photographs):
    options = ["--model", MODEL, "--layer", "features.3", "--batch-size", 2, "--device", "cpu"]
    return lambda out: ["refine", photographs, *options, "--out", out]


@pytest.fixture
def train(cub):
    options = [*("--dataset", "cub", "--root", cub.root, "--batch-size", 8), "--epochs", 4]
    small = ["--size", 40, "--crop", 32, "--set", "width=16"]

    def command(out, *, resume=False):
        again = ["--resume"] if resume else [*options, *small]
        return ["train", "spol", "--backbone", MODEL, "--device", "cpu", *again, "--out", out]

    return command


@pytest.fixture
def evaluate(cub):
    options = ["--dataset", "cub", "--root", cub.root, "--model", MODEL, "--layer", "features.3"]
    small = ["--size", 32, "--step", 0.1, "--device", "cpu"]
    return lambda out: ["evaluate", *options, *small, "--out", out]


@pytest.fixture
def label(photographs):
    options = ["--model", "tests.scale.models:small", "--layer", "features.3", "--devices", 0]
    small = ["--batch-size", 1, "--part-size", 2, "--workers", 1]
    return lambda out: ["label", photographs, *options, *small, "--out", out]


@pytest.fixture
def go_on(train):
    """The command that continues a run; it begins one if the kill came before the settings."""

    def command(out):
        return train(out, resume=(out / "run.json").exists())

    return command


def equal(whole, killed):
    """Compare what two folders hold, hidden files too."""
    assert killed.keys() == whole.keys()
    different = [name for name in whole if killed[name] != whole[name]]
    assert different == []


def equal_but_checkpoints(whole, killed):
    """Compare two runs: all files, but of the recipe the weights and the header.

    The order of its header and what a checkpoint says of the trainer are not always the same.
    """
    assert killed.keys() == whole.keys()
    assert any(name.startswith("checkpoints/") for name in whole)
    rest = (".ckpt", ".safetensors")
    equal(*({n: d for n, d in found.items() if not n.endswith(rest)} for found in (whole, killed)))
    (first, second) = (load(found["spol.safetensors"]) for found in (whole, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def equal_but_out(whole, killed):
    """Compare two evaluations: all files, but of the options the folder."""
    for found in (whole, killed):
        content = json.loads(found["evaluation.json"])
        assert content["options"].pop("out")
        found["evaluation.json"] = content
    equal(whole, killed)


def equal_but_times(whole, killed):
    """Compare two demos: all files, but of the records the milliseconds."""
    for found in (whole, killed):
        records = json.loads(found["demo.json"])
        for record in records["images"]:
            assert record.pop("milliseconds")
        found["demo.json"] = records
    equal(whole, killed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_refine_is_killed_at_random_moments(refine, tmp_path, seed):
    kill_and_continue(refine, refine, tmp_path, equal, kills=20, seed=seed)


@pytest.mark.slow
def test_train_is_killed_at_random_moments(train, go_on, tmp_path):
    kill_and_continue(train, go_on, tmp_path, equal_but_checkpoints, kills=20)


@pytest.mark.slow
def test_evaluate_is_killed_at_random_moments(evaluate, tmp_path):
    kill_and_continue(evaluate, evaluate, tmp_path, equal_but_out, kills=20)


@pytest.mark.slow
def test_the_demo_is_killed_at_random_moments(tmp_path):
    def demo(out):
        return ["demo", "--out", out]

    small = {
        "wsolrefine__cli__demo__command__PHOTOGRAPHS": ("coffee.png",),
        "wsolrefine__cli__loading__load_classifier": small_classifier,
    }
    kill_and_continue(demo, demo, tmp_path, equal_but_times, kills=20, **small)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_refine_is_stopped_at_random_moments(refine, tmp_path, sent):
    kill_and_continue(refine, refine, tmp_path, equal, kills=10, sent=sent, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_train_is_stopped_at_random_moments(train, go_on, tmp_path, sent):
    kill_and_continue(train, go_on, tmp_path, equal_but_checkpoints, kills=10, sent=sent, seed=2)


@pytest.mark.slow
def test_label_is_killed_at_random_moments(label, tmp_path):
    """The driver; what Ray has started for it ends with it."""
    kill_and_continue(label, label, tmp_path, equal, kills=12, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_label_is_stopped_at_random_moments(label, tmp_path, sent):
    kill_and_continue(label, label, tmp_path, equal, kills=4, sent=sent, seed=4)


@pytest.mark.slow
def test_workers_of_label_are_killed_at_random_moments(label, tmp_path):
    """Ray starts others for them, which do their tasks again, within one run."""
    generator, killed = random.Random(5 + int(os.environ.get("WSOLREFINE_KILLS", "0"))), []

    def kill(driver):
        for _ in range(2):
            patience = time.monotonic() + 120
            while not (found := workers(driver)):
                assert time.monotonic() < patience, "no worker has started"
                time.sleep(0.02)
            delay = generator.uniform(0, 2)
            time.sleep(delay)
            for number in found:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:  # the work was done
                    continue
                killed.append(number)
                sys.stdout.write(f"kill {len(killed)}: a worker, after {delay:.2f} s\n")

    assert run(label(tmp_path / "whole"), tmp_path / "whole").code == 0
    for number in itertools.count():
        folder = tmp_path / f"{number}"
        ended = run(label(folder), folder, meanwhile=kill)
        assert ended.code == 0, ended.said
        equal(contents(tmp_path / "whole"), contents(folder))
        sys.stdout.write(f"run {number}: equal to the undisturbed one\n")
        if len(killed) >= 12:
            return


def test_refine_is_killed_and_goes_on(refine, tmp_path):
    kill_and_continue(refine, refine, tmp_path, equal, kills=2, seed=1)


def test_train_is_killed_and_goes_on(train, go_on, tmp_path):
    kill_and_continue(train, go_on, tmp_path, equal_but_checkpoints, kills=2, seed=1)


# A disk that is full ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that makes a file system of so many bytes and returns its folder."""
    mounted = []

    def make(size):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount")
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def assert_one_message(ended, folder):
    """A run that met a full disk says so in one line, and exits with 1."""
    assert ended.code == 1, ended.said
    assert "Traceback" not in ended.said
    assert "No space left on device" in ended.said or "File too large" in ended.said
    assert [name for name in contents(folder) if "tmp" in name] == []


@pytest.mark.slow
def test_refine_on_a_full_disk(refine, tmp_path, small_disk):
    folder = (
        tmp_path / "disk/whole"
    )  # as deep as the other: the results name their images from there
    assert run(refine(folder), folder).code == 0
    whole = contents(folder)
    disk = small_disk(sum(map(len, whole.values())) * 2 + (1 << 20))
    out, filler = disk / "out", disk / "filler"
    for left in (0, 20_000, 100_000, 200_000):
        fill(disk, filler, left)
        assert_one_message(run(refine(out), out), disk)
        filler.unlink()
    assert run(refine(out), out).code == 0
    equal(whole, contents(out))


@pytest.mark.slow
def test_label_on_a_full_disk(label, tmp_path, small_disk):
    assert run(label(tmp_path / "whole"), tmp_path / "whole").code == 0
    whole = contents(tmp_path / "whole")
    disk = small_disk(sum(map(len, whole.values())) * 4 + (1 << 20))
    out, filler = disk / "out", disk / "filler"
    for left in (0, 8_000, 12_000, 12_000):  # for the plan, the settings, one of the parts
        fill(disk, filler, left)
        assert_one_message(run(label(out), out), disk)
        filler.unlink()
    assert run(label(out), out).code == 0
    equal(whole, contents(out))


@pytest.mark.slow
def test_train_on_a_full_disk(train, go_on, tmp_path, small_disk):
    assert run(train(tmp_path / "whole"), tmp_path / "whole").code == 0
    whole = contents(tmp_path / "whole")
    disk = small_disk(sum(map(len, whole.values())) * 4 + (1 << 20))
    out, filler = disk / "out", disk / "filler"
    size = len(whole["checkpoints/epoch-003.ckpt"])
    for left in (0, 10_000, size // 2, size + size // 2):
        fill(disk, filler, left)
        assert_one_message(run(go_on(out), out), disk)
        filler.unlink()
    assert run(go_on(out), out).code == 0
    equal_but_checkpoints(whole, contents(out))


def fill(disk, filler, left):
    """Write a file until only so many bytes of a file system are free."""
    free = int(subprocess.check_output(["stat", "-f", "-c", "%a * %S", disk]).split()[0])
    block = int(subprocess.check_output(["stat", "-f", "-c", "%S", disk]))
    with filler.open("wb") as file:
        for _ in itertools.repeat(None, max(0, free - left // block)):
            file.write(bytes(block))


def test_train_where_a_checkpoint_is_too_large(train, go_on, tmp_path):
    """Everywhere, unlike a small file system: no file may be larger than the settings and losses."""
    out = tmp_path / "run"
    ended = run(train(out), out, largest=20_000)
    assert_one_message(ended, out)
    assert set(contents(out)) == {"run.json", "losses.csv"}
    assert "To continue" in ended.said or "--resume" in ended.said
    assert run(go_on(out), out).code == 0
    assert run(train(tmp_path / "whole"), tmp_path / "whole").code == 0
    equal_but_checkpoints(contents(tmp_path / "whole"), contents(out))


def test_refine_where_a_file_is_too_large(refine, tmp_path):
    out = tmp_path / "out"
    ended = run(refine(out), out, largest=5_000)
    assert ended.code == 1
    assert "Traceback" not in ended.said
    assert "File too large" in ended.said
    assert [name for name in contents(out) if "tmp" in name] == []
    assert run(refine(out), out).code == 0
    assert run(refine(tmp_path / "whole"), tmp_path / "whole").code == 0
    equal(contents(tmp_path / "whole"), contents(out))
    assert len(json.loads((out / "wsolrefine.json").read_text())["images"]) == 12
