"""``compare``: one picture and tables of several methods, with the numbers of the localizer."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support import photographs, zoo
from tests.support.command import run_command
from wsolrefine import Localizer, box_iou
from wsolrefine.cli.compare import run as comparison
from wsolrefine.cli.compare.command import parse_methods
from wsolrefine.cli.compare.tables import write_csv, write_json, write_markdown
from wsolrefine.data import read_image
from wsolrefine.localization.methods import METHODS

FILES = {"compare.json", "compare.png", "compare.md", "compare.csv"}
MODEL = "tests.cli.test_compare:model"


def model():
    def make():
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), *head)

    return zoo.seeded(make)


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    with photographs.shared(monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photos/deep").mkdir(parents=True)
        for source, target in (("coffee.png", "a|b.png"), ("chelsea.png", "deep/cat.jpg")):
            with Image.open(photographs.FOLDER / source) as image:
                image.resize((120, 80)).save(tmp_path / "photos" / target)
        yield


def compare(*arguments, code=0):
    return run_command("compare", *arguments, code=code)


def records(folder):
    return json.loads((folder / "compare.json").read_text())


def test_the_numbers_are_those_of_the_localizer(tmp_path):
    said = compare("photos", "--methods", "scg,sem", "--out", tmp_path / "new/out")
    assert {path.name for path in (tmp_path / "new/out").iterdir()} == FILES
    content = records(tmp_path / "new/out")
    methods = ["cam", "scg", "sem"]
    assert content["thresholds"] == {name: METHODS[name].threshold for name in methods}
    assert [(r["image"], r["method"]) for r in content["rows"]] == [
        (image, method) for image in ("a|b.png", "deep/cat.jpg") for method in methods
    ]
    classifier = photographs.classifier()
    for number, image in enumerate(("a|b.png", "deep/cat.jpg")):
        rows = content["rows"][3 * number : 3 * number + 3]
        pixels = read_image(tmp_path / "photos" / image)
        found = [Localizer(classifier, refine=name)(pixels) for name in methods]
        boxes = torch.cat([one.boxes[0] for one in found])
        iou = box_iou(boxes, boxes)
        for i, (row, one) in enumerate(zip(rows, found, strict=True)):
            assert row["box"] == one.boxes[0, 0].tolist()
            assert row["score"] == pytest.approx(one.scores.item(), abs=1e-5)
            assert row["mask_share"] == pytest.approx(one.masks.float().mean().item(), abs=1e-5)
            assert row["class"] == classifier.class_names[int(one.labels)].split(",")[0]
            assert row["iou_with_cam"] == pytest.approx(iou[i, 0].item(), abs=1e-6)
            others = [iou[i, j].item() for j in range(3) if j != i]
            assert row["agreement"] == pytest.approx(np.mean(others), abs=1e-6)
            assert row["seconds"] > 0
    for method in methods:
        means, rows = content["summary"][method], content["rows"]
        shares = [row["mask_share"] for row in rows if row["method"] == method]
        assert means["mask_share"] == pytest.approx(np.mean(shares))
        assert f"{np.mean(shares):.1%}" in said
    with Image.open(tmp_path / "new/out/compare.png") as picture:
        assert picture.width > 4 * 300
        assert np.ptp(np.asarray(picture.convert("L"))) == 255


def test_markdown_and_csv_have_the_same_rows(tmp_path):
    compare("photos", "--methods", "gppl", "--out", "out", "--threshold", 0.5)
    content = records(tmp_path / "out")
    assert set(content["thresholds"].values()) == {0.5}
    with (tmp_path / "out/compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, content["rows"], strict=True):
        assert [float(row[c]) for c in ("x0", "y0", "x1", "y1")] == record["box"]
        for name in ("score", "mask_share", "iou_with_cam", "agreement", "seconds"):
            assert float(row[name]) == record[name]
        assert row["image"] == record["image"]
    lines = (tmp_path / "out/compare.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 2 + 2 + 2 + 4
    assert {line.replace("\\|", "").count("|") for line in tables[4:]} == {10}
    assert any(line.startswith(r"| a\|b.png | gppl |") for line in tables)


def test_a_model_of_your_own_and_every_method(tmp_path):
    compare("photos/deep/cat.jpg", "--model", MODEL, "--layer", "1", "--out", "out")
    content = records(tmp_path / "out")
    assert [row["method"] for row in content["rows"]] == [
        "cam",
        *(m for m in METHODS if m != "cam"),
    ]
    assert {row["class"] for row in content["rows"]} <= {f"class {i}" for i in range(3)}


def test_an_image_that_cannot_be_read_is_listed(tmp_path):
    (tmp_path / "photos/a.png").write_bytes(b"no image")
    said = compare("photos", "photos", "--methods", "cam", "--out", "out", code=1)
    assert "1 could not be used" in said
    content = records(tmp_path / "out")
    assert len(content["rows"]) == 2  # the CAM alone, of two images
    assert {row["agreement"] for row in content["rows"]} == {None}
    (tmp_path / "only.png").write_bytes(b"no image")
    assert "no image could be read" in compare("only.png", "--out", "other", code=1)
    assert not list((tmp_path / "other").iterdir())


def test_a_missing_box(tmp_path):
    known = {"image": "<b>&.png", "class": "x", "class_index": 0, "score": 0.5, "mask_share": 0.0,
             "iou_with_cam": None, "agreement": None, "seconds": 1.0, "box": None}  # fmt: skip
    rows = [known | {"method": "cam"}, known | {"method": "scg", "image": "\udcff.png"}]
    write_markdown(tmp_path / "a.md", rows)
    text = (tmp_path / "a.md").read_text()
    assert "| &lt;b>&amp;.png | cam | x | 50.0% | none | 0.0% |  |  | 1.000 |" in text
    assert "| scg | 0.0% |  |  | 1.000 | 1 |" in text
    assert "\\\\udcff.png" in text
    write_csv(tmp_path / "a.csv", rows)
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "<b>&.png,cam,x,0.5,,,,,0.0,,,1.0"
    write_json(tmp_path / "a.json", {"rows": rows})
    assert json.loads((tmp_path / "a.json").read_text())["summary"]["cam"]["without_box"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "no image found"),
        (["photos", "--methods", "scg,x"], "--methods: expected some of fast, balanced,"),
        (["photos", "--methods", ""], "--methods: expected some of"),
        (["photos", "--threshold", "1"], "--threshold: expected a number in [0, 1), got 1"),
        (["photos", "--layer", "x"], "--layer: "),
        (["photos", "--out", "photos/a|b.png"], "--out: expected a folder, got the file"),
        (["photos", "--model", "no.such:thing"], "--model: expected 'no.such:thing'"),
    ],
)
def test_what_is_refused(tmp_path, arguments, message):
    code = 1 if "no.such:thing" in arguments else 2
    said = " ".join(compare(*arguments, code=code).split())
    assert message in said
    assert not (tmp_path / "wsolrefine-comparison/compare.json").exists()


def test_too_many_photographs_for_one_picture(monkeypatch):
    monkeypatch.setattr(comparison, "MOST", 1)
    assert "IMAGES: expected at most 1, got 2" in compare("photos", "--out", "out", code=2)


def test_the_users_own_files_are_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/compare.md").write_text("mine")
    said = compare("photos", "--methods", "scg", "--out", "out", code=2)
    assert "compare.md" in said
    assert (tmp_path / "out/compare.md").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["compare.md"]


def test_the_cam_is_first_and_no_method_twice():
    assert parse_methods("scg, cam,scg,fast") == ["cam", "scg", "fast"]
    assert parse_methods(None)[0] == "cam"
    assert set(parse_methods(None)) == set(METHODS)
