"""The benchmarks of whole data sets in a tiny form, on the Ray of the other tests."""

import json
import runpy
import subprocess
import sys

import pytest
import torch

from benchmarks.scale import kill_report, rates, report
from tests.project.test_benchmarks import assert_about_this_machine, assert_complete
from tests.scale.models import small

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of Ray, about itself
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process, as ``python -m`` does."""
    threads = torch.get_num_threads()

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        runpy.run_module(module, run_name="__main__")

    yield run
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(monkeypatch):
    """One size of photographs, and a tiny model, also for ``refine`` in a process of its own."""
    monkeypatch.setattr(rates, "load_classifier", lambda name: small())
    monkeypatch.setattr(rates, "METHOD", "cam")
    monkeypatch.setattr(rates, "SIZES", {"tiny": (80, 60)})
    real = subprocess.run

    def with_tiny_model(command, **options):
        model = ["--model", "tests.scale.models:small"] if "refine" in command else []
        return real([*command, *model], **options)

    monkeypatch.setattr(rates.subprocess, "run", with_tiny_model)


@pytest.mark.usefixtures("ray_running", "tiny")
def test_rates_and_memory(run, tmp_path, capsys):
    run("benchmarks.scale", "--images", 40, "--runs", 1, "--rows", 20, "--out", tmp_path)
    record = json.loads((tmp_path / "scale.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    text = (tmp_path / "scale.md").read_text()
    assert text == report.render(record)
    assert text in capsys.readouterr().out
    assert min(record["start"].values()) > 0
    (rate,) = record["rates"]
    assert {*rate["milliseconds"]} == {"floor", "label", "two", "refine"}
    assert min(rate["milliseconds"]["floor"], rate["label / floor"], rate["bytes"]) > 0
    (memory,) = record["memory"]
    assert memory["rows"] == 20
    assert memory["megabytes"] > 10


@pytest.mark.slow
def test_kills(run, tmp_path, capsys):
    small = ("--model", "tests.scale.models:small", "--method", "cam", "--part-size", 2)
    label = ("--", *small, "--batch-size", 1, "--workers", 1, "--devices", 0)
    kills = ("--images", 12, "--driver", 2, "--workers", 2, "--out", tmp_path)
    run("benchmarks.scale.kills", *kills, *label)
    record = json.loads((tmp_path / "scale_kills.json").read_text())
    assert_complete(record)
    assert_about_this_machine(record)
    assert (tmp_path / "scale_kills.md").read_text() == kill_report.render(record)
    assert "| rows lost " in capsys.readouterr().out
    killed = [kill["killed"] for kill in record["kills"]]
    assert killed.count("driver") == 2 <= killed.count("worker")
    assert not any(record["differences"].values())
    assert not any(kill.get("left") for kill in record["kills"])
    assert record["rows"] == 12
