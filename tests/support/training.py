"""Small runs of ``wsolrefine train``, for the tests of the command."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from tests.support import miniature
from tests.support.command import run_command

BACKBONE = "tests.support.zoo:MobileNetV2"
TINY = [
    *("--backbone", BACKBONE, "--batch-size", 5, "--size", 40, "--crop", 32, "--device", "cpu"),
    *("--set", "width=8"),
]
SMALL_EDGES = ["--set", "edge_size=16,16"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cub(tmp_path_factory):
    return miniature.write_cub(tmp_path_factory.mktemp("cub"), count=6)


@pytest.fixture
def call(monkeypatch):
    """Run a command of ``wsolrefine``; return what it printed."""
    monkeypatch.setenv("COLUMNS", "200")
    return run_command


@pytest.fixture
def train(call, cub, tmp_path):
    """Run ``wsolrefine train`` on the tiny data set with the tiny backbone."""

    def run(recipe, *arguments, out=tmp_path / "run", code=0, data=("cub", cub.root)):
        source = ["--dataset", data[0], "--root", data[1]] if data else []
        tiny = TINY if data else ["--backbone", BACKBONE]
        return call("train", recipe, *source, *tiny, *arguments, "--out", out, code=code)

    return run


def same(first, second):
    """Tell whether two files hold the same weights, bit for bit."""
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def header(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def folder_of(path, count=2):
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{number}.png")
    return path


def files_of(folder):
    """Return all files below a folder by their path, with their content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
