"""The command ``export``: every format from the results of ``refine``, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from torch import nn

from tests.support import zoo
from tests.support.command import invoke, run_command
from tests.support.exported import files_below
from wsolrefine.cli.export.formats import WRITERS, Format

MODEL = "tests.cli.test_export:model"


def model():
    def make():
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), *head)

    return zoo.seeded(make)


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    """The results of refine for three images, two classes each; one has no object."""
    folder = tmp_path_factory.mktemp("refined")
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.jpg", "flat.png"):
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (5, 7, 3), np.uint8)
        Image.fromarray(pixels).resize((70, 50)).save(path)
    options = ("--model", MODEL, "--method", "cam", "--classes", "0,2", "--parts", "instances")
    run_command("refine", folder / "in", "--out", folder / "results", *options)
    content = json.loads((folder / "results/wsolrefine.json").read_text())
    assert {entry["category_id"] for entry in content["annotations"]} == {0, 2}
    flat = next(image["id"] for image in content["images"] if image["file_name"] == "flat.png")
    content["annotations"] = [e for e in content["annotations"] if e["image_id"] != flat]
    (folder / "results/wsolrefine.json").write_text(json.dumps(content))
    return folder / "results"


@pytest.fixture
def results(refined, tmp_path):
    shutil.copytree(refined, tmp_path / "results")
    shutil.copytree(refined.parent / "in", tmp_path / "in")
    return tmp_path / "results"


def content(results):
    return json.loads((results / "wsolrefine.json").read_text())


@pytest.mark.parametrize("to", Format)
def test_every_format(results, tmp_path, to):
    said = run_command("export", results, "--to", to, "--out", tmp_path / "out")
    number = len(content(results)["annotations"])
    assert f"3 images, {number} objects." in said
    assert files_below(tmp_path / "out")
    again = run_command("export", results, "--to", to, "--out", tmp_path / "out", code=2)
    assert "--out: expected a new or empty folder, got " in " ".join(again.split())
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "results"}


def test_coco_has_what_refine_wrote(results, tmp_path):
    run_command("export", results, "--to", "coco", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out/annotations.json").read_text())
    before = content(results)
    keys = ("image_id", "category_id", "bbox", "area", "segmentation", "score")
    assert [[e[key] for key in keys] for e in found["annotations"]] == [
        [e[key] for key in keys] for e in before["annotations"]
    ]
    assert [image["file_name"] for image in found["images"]] == ["a.png", "deep/b.jpg", "flat.png"]
    for image in found["images"]:
        path = tmp_path / "out/images" / image["file_name"]
        assert path.resolve() == tmp_path / "in" / image["file_name"]
    assert [one["name"] for one in found["categories"]] == ["class 0", "class 1", "class 2"]


def test_only_the_classes_that_are_used(results, tmp_path):
    run_command("export", results, "--to", "coco", "--used", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out/annotations.json").read_text())
    assert found["categories"] == [{"id": 0, "name": "class 0"}, {"id": 1, "name": "class 2"}]
    assert {entry["category_id"] for entry in found["annotations"]} == {0, 1}


def test_masks_of_the_labels_of_each_image(results, tmp_path):
    labels = {"a.png": ["class 2"], "deep/b": [0, 2], "flat": []}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    options = ("--to", "masks", "--labels", tmp_path / "labels.json", "--out", tmp_path / "out")
    run_command("export", results, *options, "--foreground", 0.5, "--background", 0.25)
    for name, allowed in (("a", {3}), ("deep/b", {1, 3}), ("flat", set())):
        pixels = np.asarray(Image.open(tmp_path / f"out/masks/{name}.png"))
        assert pixels.shape == (50, 70)
        assert {*np.unique(pixels)} - {0, 255} == allowed
        end = name.rpartition("/")[0]
        levels = [
            np.asarray(
                Image.open(results / "maps" / end / f"{name.rpartition('/')[2]}.{label}.png")
            )
            for label in {"a": [2], "deep/b": [0, 2], "flat": []}[name]
        ]
        if levels:
            assert ((pixels == 0) == (np.max(levels, 0) / 255 < 0.25)).all()
        else:
            assert not pixels.any()


def test_scores_below_a_limit(results, tmp_path):
    scores = sorted(entry["score"] for entry in content(results)["annotations"])
    options = ("--min-score", scores[-1], "--out", tmp_path / "out")
    said = run_command("export", results, "--to", "csv", *options)
    assert "3 images, 1 objects." in said


def test_the_map_of_an_empty_mask_says_where_the_background_is(results, tmp_path):
    """Of one class alone the file of the map does not say which, so that bright pixels are 255."""
    options = ("--model", MODEL, "--method", "cam", "--threshold", 0.999999)
    run_command("refine", tmp_path / "in", "--out", tmp_path / "none", *options)
    assert not content(tmp_path / "none")["annotations"]
    thresholds = ("--foreground", 0.5, "--background", 0.25)
    run_command(
        "export", tmp_path / "none", "--to", "masks", *thresholds, "--out", tmp_path / "out"
    )
    pixels = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    level = np.asarray(Image.open(tmp_path / "none/maps/a.png")) / 255
    assert (pixels == np.where(level < 0.25, 0, 255)).all()


WRONG = {
    "coco": [
        (("--like", "x.json"), "--like: --to coco does not use it"),
        (("--tolerance", 1), "--tolerance: --to coco uses it with --polygons only"),
        (("--polygons", "--tolerance", -1), "--tolerance: expected a finite number >= 0, got -1"),
        (("--images", "move"), "--images: expected 'link', 'copy' or 'none', got 'move'"),
        (("--min-score", 2), "--min-score: expected a number in [0, 1], got 2"),
        (("--labels", "x.txt"), "--labels: expected a file .json, .csv or .npy, got x.txt"),
    ],
    "yolo": [(("--validation", 1), "--validation: expected a number in [0, 1), got 1")],
    "masks": [
        (
            ("--foreground", 0.5),
            "--background: expected a threshold as foreground has one, got None",
        ),
        (
            ("--foreground", 0.1, "--background", 0.2),
            "--foreground: expected at least background=0.2",
        ),
        (("--overlap", "x"), "--overlap: expected 'score' or 'map', got 'x'"),
    ],
    "labelstudio": [
        (("--shapes", "x"), "--shapes: expected 'brush', 'polygon' or 'none', got 'x'")
    ],
    "sam": [
        (("--points", -1), "--points: expected an integer >= 0, got -1"),
        (("--background", 2), "--background: expected a number in [0, 1], got 2"),
        (("--negatives", "x"), "--negatives"),
    ],
    "csv": [(("--images", "link"), "--images: --to csv does not use it")],
    "xml": [((), "--to")],
}


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [(to, options, message) for to, cases in WRONG.items() for options, message in cases],
)
def test_wrong_options(results, tmp_path, to, options, message):
    done = invoke("export", results, "--to", to, *options, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_each_option_of_a_format_is_one_of_the_command():
    from typer.main import get_command

    from wsolrefine.cli import app

    known = {option.name for option in get_command(app).commands["export"].params}
    for writer in WRITERS.values():
        assert writer.options <= known


def test_folders_without_results(results, tmp_path):
    for wrong in ("in", "missing"):
        said = run_command(
            "export", tmp_path / wrong, "--to", "csv", "--out", tmp_path / "o", code=2
        )
        assert "RESULTS: expected the results of wsolrefine refine or label" in " ".join(
            said.split()
        )
    (results / "wsolrefine.json").write_text("{}")
    said = run_command("export", results, "--to", "csv", "--out", tmp_path / "o", code=1)
    assert "wsolrefine.json: expected a file of wsolrefine refine" in " ".join(said.split())


def test_images_that_are_gone(results, tmp_path):
    shutil.rmtree(tmp_path / "in")
    said = run_command("export", results, "--to", "voc", "--out", tmp_path / "out", code=2)
    assert "--images: expected the image of 'a.png', got no file" in " ".join(said.split())
    run_command("export", results, "--to", "voc", "--images", "none", "--out", tmp_path / "out")


def test_the_labels_of_an_image_are_missing_or_of_another_class(results, tmp_path):
    for labels, message in (
        ({"a.png": [0]}, "--labels: expected labels of 'deep/b.jpg', got none"),
        ({"a.png": [9]}, "--labels: expected classes of the results, got 9"),
        ({"a.png": ["wren"]}, "--labels: expected classes of the results, got 'wren'"),
    ):
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        options = ("--labels", tmp_path / "labels.json", "--out", tmp_path / "out")
        said = run_command("export", results, "--to", "csv", *options, code=2)
        assert message in " ".join(said.split())


# refine --labels ----------------------------------------------------------------------------------

NAMED = ("--model", MODEL, "--method", "cam", "--threshold", 0.5)


def labeled(folder, labels):
    (folder / "labels.json").write_text(json.dumps(labels))
    return "--labels", folder / "labels.json"


def test_refine_maps_the_classes_that_each_image_has(results, tmp_path):
    labels = {"a": [2], "deep/b": ["class 0", 2, 0], "flat": []}
    given = {"a": [2], "deep/b": ["index:0", 2, 0], "flat": []}
    out = tmp_path / "own"
    run_command("refine", tmp_path / "in", "--out", out, *NAMED, *labeled(tmp_path, given))
    files = [file for file in files_below(out) if file.startswith("maps/")]
    assert files == ["maps/a.2.png", "maps/deep/b.0.png", "maps/deep/b.2.png"]
    found = {image["id"]: image["file_name"] for image in content(out)["images"]}
    assert [*found.values()] == ["a.png", "deep/b.jpg", "flat.png"]
    pairs = {(found[e["image_id"]], e["category_id"]) for e in content(out)["annotations"]}
    assert pairs == {("a.png", 2), ("deep/b.jpg", 0), ("deep/b.jpg", 2)}
    # Of each class what it has alone.
    alone = tmp_path / "alone"
    run_command("refine", tmp_path / "in", "--out", alone, *NAMED, "--classes", "0,2")
    for file in files:
        assert (out / file).read_bytes() == (alone / file).read_bytes()
    again = ("--out", out, *NAMED, *labeled(tmp_path, given))
    assert "3 skipped, already done" in run_command("refine", tmp_path / "in", *again)
    said = run_command(
        "refine", tmp_path / "in", "--out", out, *NAMED, *labeled(tmp_path, labels), code=2
    )
    assert "--out: expected the settings of the 3 results" in " ".join(said.split())


def test_of_labels_the_class_of_a_map_without_an_object_is_known(results, tmp_path):
    out, options = tmp_path / "own", (*NAMED[:-1], 0.999999)
    given = labeled(tmp_path, {"a": [2], "deep/b": [0], "flat": [1]})
    run_command("refine", tmp_path / "in", "--out", out, *options, *given)
    assert not content(out)["annotations"]
    thresholds = ("--foreground", 0.5, "--background", 0.25)
    run_command("export", out, "--to", "masks", *thresholds, "--out", tmp_path / "masks")
    pixels = np.asarray(Image.open(tmp_path / "masks/masks/a.png"))
    assert {*np.unique(pixels)} == {0, 3, 255}


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        ({"a": [2]}, (), "--labels: expected labels of 'flat.png', got none"),
        (
            {"a": [3], "deep/b": [], "flat": []},
            (),
            "--labels: expected an index from 0 to 2, got 3",
        ),
        (
            {"a": ["wren"], "deep/b": [], "flat": []},
            (),
            "--labels: expected an index (this model has no class names), got",
        ),
        ({"a": [1.5]}, (), "--labels: "),
        ({"a": []}, ("--classes", "top2"), "--classes: --labels names the classes of each image"),
    ],
)
def test_wrong_labels_of_refine(results, tmp_path, labels, more, message):
    given = labeled(tmp_path, labels)
    said = run_command(
        "refine", tmp_path / "in", "--out", tmp_path / "o", *NAMED, *given, *more, code=2
    )
    assert message in " ".join(said.split())
    assert not (tmp_path / "o").exists()


def test_a_file_of_labels_that_is_not_there(results, tmp_path):
    missing = ("--labels", tmp_path / "missing.csv")
    said = run_command("refine", tmp_path / "in", "--out", tmp_path / "o", *NAMED, *missing, code=2)
    assert "--labels: expected a file, got " in " ".join(said.split())
