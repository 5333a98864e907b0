"""Every benchmark command on a few tiny scenes; what it records; what it may import."""

import ast
import json
import re
import runpy
import sys
from datetime import date
from pathlib import Path

import pytest
import torch

import wsolrefine
from benchmarks import common
from benchmarks.quality import maps
from benchmarks.quality.report import COLUMNS
from benchmarks.quality.report import render as render_quality
from benchmarks.recipes import edges, ornet, rows
from benchmarks.recipes.report import render as render_recipes
from benchmarks.speed import label_spreading, pamr, scg
from tests.project.test_scenes import write_packages, write_stamp
from tests.support import photographs

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder)
    for i in range(18):  # a second class, with enough cut-outs in every split
        write_stamp(folder / f"usr/share/tuxpaint/stamps/vehicles/{chr(97 + i)}car.png")
    return folder


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process, as ``python -m`` does."""
    threads = torch.get_num_threads()
    photographs.known_layers(monkeypatch, "benchmarks.quality.maps", "benchmarks.recipes.scenes")

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        runpy.run_module(module, run_name="__main__")

    yield run
    torch.set_num_threads(threads)


def assert_complete(record):
    """Check what every benchmark records of itself."""
    assert record["version"] == wsolrefine.__version__
    assert record["commit"] is None or re.fullmatch(r"[0-9a-f]{12,}(\+changes)?", record["commit"])
    date.fromisoformat(record["date"])


def assert_about_this_machine(record):
    assert record["command"].startswith("python -m benchmarks.")
    assert {key: record[key] for key in common.MACHINE} == common.machine()


# The commands -------------------------------------------------------------------------------------


def test_scenes(run, folder, tmp_path, capsys):
    run("benchmarks.scenes", "--folder", folder, "--sheet", tmp_path / "scenes.png")
    assert (tmp_path / "scenes.png").stat().st_size > 0
    assert re.search(r"^test: \d+ cut-outs, \d+ backgrounds$", capsys.readouterr().out, re.M)


def test_make_cub(run, folder, tmp_path, capsys):
    counts = ("--train", 3, "--test", 2, "--size", 40)
    run("benchmarks.make_cub", tmp_path / "cub", *counts, "--folder", folder)
    assert "3 scenes to train, 2 to test" in capsys.readouterr().out
    assert len((tmp_path / "cub/images.txt").read_text().splitlines()) == 5


def test_quality(run, folder, tmp_path, capsys, monkeypatch):
    few = {name: maps.ROWS[name] for name in ("cam", maps.DEFAULT, "confseg", "cam, conv_crf")}
    for name in [*maps.ROWS]:
        if name not in few:
            monkeypatch.delitem(maps.ROWS, name)
    run("benchmarks.quality", "--scenes", 2, "--folder", folder, "--out", tmp_path)
    record = json.loads((tmp_path / "quality.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert record["command"] == "python -m benchmarks.quality --scenes 2"
    assert [row["method"] for row in record["rows"]] == [*few]
    assert record["splits"]["test"]["scenes"] == 2
    text = (tmp_path / "quality.md").read_text()
    assert capsys.readouterr().out == f"{text}\n"
    assert f"version {record['version']}" in text


def test_thresholds(run, folder, tmp_path, capsys):
    run("benchmarks.quality", "--thresholds", "--scenes", 1, "--folder", folder, "--out", tmp_path)
    printed = capsys.readouterr().out
    for name in wsolrefine.localization.methods.METHODS:
        assert re.search(rf"^{name} +0\.\d\d gives .*; default 0\.\d\d$", printed, re.M)
    assert not [*tmp_path.iterdir()]


def test_boundaries(run, folder, tmp_path):
    run("benchmarks.boundaries", "--scenes", 1, "--folder", folder, "--out", tmp_path)
    record = json.loads((tmp_path / "boundaries.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert len(record["rows"]) == 12
    assert {*record["rows"][0]} == {"method", *COLUMNS["boundaries"]}


def test_recipes(run, folder, tmp_path, monkeypatch):
    for part in ("spa", "csoa"):
        monkeypatch.setitem(rows.PARTS, part, rows.PARTS[part][-1:])
    of_spol = rows.PARTS["spol"]
    kept = [t for t in of_spol if rows.WITHOUT_SEGMENTATION in t.rows] + of_spol[-1:]
    monkeypatch.setitem(rows.PARTS, "spol", kept)
    monkeypatch.setattr(ornet, "COMPONENTS", {"ORNet, all": {}})
    monkeypatch.setattr(edges, "ROWS", {"SEM, vanilla": edges.ROWS["SEM, vanilla"]})
    sizes = ("--train", 8, "--scenes", 3, "--batch", 4, "--edge-scenes", 4, "--edge-tests", 2)
    epochs = ("--epochs", 2, "--ornet-epochs", 4, "--edge-epochs", 1, "--seeds", 1)
    common_options = (*sizes, *epochs, "--folder", folder, "--out", tmp_path)
    run("benchmarks.recipes", "--parts", "cam", *common_options)
    run("benchmarks.recipes", "--parts", "spa", "csoa", "spol", "ornet", "edges", *common_options)
    record = json.loads((tmp_path / "recipes.json").read_text())
    assert_about_this_machine(record)
    assert record["classes"] == ["animals", "vehicles"]
    assert [*record["parts"]] == ["cam", "spa", "csoa", "spol", "ornet", "edges"]
    for part in record["parts"].values():
        assert_complete(part)
    text = (tmp_path / "recipes.md").read_text()
    assert text.count("(version ") == 6
    assert "| SPA, RAM and SCG " in text


def test_speed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scg, "SHAPES", [(2, 8, 8), (1, 8, 12)])
    monkeypatch.setattr(label_spreading, "CASES", [(2, "EfficientNet-Lite0", 3, 7)])
    monkeypatch.setattr(pamr, "SHAPES", [(2, 1, 28)])
    run("benchmarks.speed", "--runs", 0, "--json", tmp_path / "speed.json")
    record = json.loads((tmp_path / "speed.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    (of_scg,) = record["results"]["scg"]  # --runs 0 tries the first case
    assert of_scg["shape"] == [2, 8, 8, 8]
    assert {"scg", "closed", "released"} < {*of_scg["milliseconds"]}
    (spreading,), (refined,) = record["results"]["label_spreading"], record["results"]["pamr"]
    assert {*spreading["milliseconds per image"]} == {"label_spreading", "products", "cholesky"}
    assert spreading["floor"] in ("products", "cholesky")
    assert spreading["label_spreading / floor"] > 0
    assert {*refined["milliseconds per image"]} == {"pamr", "floor", "copies"}
    assert min(refined["pamr / floor"], refined["copies / pamr"]) > 0
    assert [row["metric"] for row in record["results"]["evaluate"]] == ["MaxBoxAcc", "MaxBoxAccV2"]
    assert "MaxBoxAccV2" in capsys.readouterr().out


# What they record ---------------------------------------------------------------------------------


def test_the_commit_says_whether_files_were_changed(monkeypatch):
    answers = {"rev-parse": "0123456789ab", "status": ""}
    monkeypatch.setattr(common, "_git", lambda command, *rest: answers[command])
    assert common.commit() == "0123456789ab"
    answers["status"] = " M wsolrefine/models.py"
    assert common.commit() == "0123456789ab+changes"
    answers["rev-parse"] = None
    assert common.commit() is None


def test_the_tables_of_all_results_are_those_of_their_json():
    versions = [path for path in (ROOT / "benchmarks/results").iterdir() if path.is_dir()]
    assert ROOT / "benchmarks/results" / wsolrefine.__version__ in versions
    for path in (path for version in versions for path in version.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        name = path.stem
        text = render_recipes(record) if name == "recipes" else render_quality(name, record)
        assert path.with_suffix(".md").read_text("utf-8") == text


# What they import ---------------------------------------------------------------------------------

ALLOWED = {"wsolrefine.metrics._contours"}
"""Private, but only there can the two ways to count boxes be chosen from."""


def private_imports(text):
    """Return what a file imports from the command, or from private modules of the package."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *parts = name.split(".")
            private = any(re.match(r"cli$|_(?!_)", part) for part in parts)
            if package == "wsolrefine" and private:
                found.add(name)
    return found - ALLOWED


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted((ROOT / "docs").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_benchmarks_and_images_use_the_public_api(path):
    assert not private_imports(path.read_text("utf-8"))


def test_a_private_import_is_seen():
    assert private_imports("from wsolrefine.cli.maps import REFINE")
    assert private_imports("def f():\n    import wsolrefine.functional._grid")
    assert private_imports("from wsolrefine import cli")
    assert private_imports("from wsolrefine.recipes._recipe import map_of")
    assert not private_imports("from wsolrefine import __version__, scg")
    assert not private_imports("from wsolrefine.metrics import _contours, count_box_hits")
