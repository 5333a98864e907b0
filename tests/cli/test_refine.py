import contextlib
import io
import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torch import nn

from tests.support import photographs
from tests.support.command import run_command
from tests.support.odd_images import broken_images, odd_images
from wsolrefine import Localizer
from wsolrefine.cli import files
from wsolrefine.cli.refine import pictures, reading
from wsolrefine.cli.refine.coco import RESULTS
from wsolrefine.cli.refine.inputs import Found
from wsolrefine.cli.refine.outputs import FOLDERS, result_file
from wsolrefine.data import read_image
from wsolrefine.localization import localizer
from wsolrefine.localization.methods import DEFAULT, METHODS

# pycocotools 2.0.11 decodes masks in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def one_classifier(monkeypatch):
    with photographs.shared(monkeypatch):
        yield


@pytest.fixture
def refine(tmp_path):
    """Run ``wsolrefine refine``; results go to ``tmp_path / "out"`` unless said otherwise."""

    def call(*arguments, out=tmp_path / "out", code=0):
        return run_command("refine", *arguments, "--out", out, code=code)

    return call


@pytest.fixture
def small(tmp_path):
    """A folder with three small photographs, one of them below a folder."""
    folder = tmp_path / "in"
    (folder / "deep er").mkdir(parents=True)
    for source, target in (
        ("coffee.png", "coffee.png"),
        ("chelsea.png", "Katze ü 猫.JPG"),
        ("rocket.jpg", "deep er/rocket.webp"),
    ):
        with Image.open(photographs.FOLDER / source) as image:
            image.resize((120, 80)).save(folder / target)
    return folder


def content(out):
    return json.loads((out / RESULTS).read_text())


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def coco(out):
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        return COCO(str(out / RESULTS))


def test_files_and_coco_agree(refine, small, tmp_path):
    said = refine(small, photographs.FOLDER / "motorcycle_left.png")
    out = tmp_path / "out"
    assert "4 refined" in said
    assert str(out / RESULTS) in said
    names = ["Katze ü 猫.JPG", "coffee.png", "deep er/rocket.webp", "motorcycle_left.png"]
    bases = ["Katze ü 猫", "coffee", "deep er/rocket", "motorcycle_left"]
    expected = [RESULTS, *(result_file(folder, base) for folder in FOLDERS for base in bases)]
    assert files_below(out) == sorted(expected)
    data = coco(out)
    assert [image["file_name"] for image in data.dataset["images"]] == names
    assert len(data.getAnnIds()) == 4
    for found in data.loadAnns(data.getAnnIds()):
        image = data.loadImgs(found["image_id"])[0]
        with Image.open(out / found["mask"]) as mask, Image.open(out / found["map"]) as map:
            assert mask.mode == map.mode == "L"
            assert mask.size == map.size == (image["width"], image["height"])
            pixels, levels = np.asarray(mask), np.asarray(map)
        assert set(np.unique(pixels)) == {0, 255}
        np.testing.assert_array_equal(data.annToMask(found) * 255, pixels)
        assert levels[pixels > 0].min() >= round(METHODS[DEFAULT].threshold * 255) - 1
        assert found["area"] == (pixels > 0).sum()
        rows, columns = np.nonzero(pixels)
        x, y, w, h = found["bbox"]
        assert (x, y, x + w, y + h) == (
            columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        )  # fmt: skip
        assert 0 < found["score"] <= 1
    motorcycle = next(a for a in data.dataset["annotations"] if "motorcycle" in a["map"])
    assert data.loadCats(motorcycle["category_id"])[0]["name"] == "moped"


def test_odd_images(refine, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    names = odd_images(folder)
    refine(folder, folder / "no suffix")
    images = {image["file_name"]: image for image in content(tmp_path / "out")["images"]}
    assert sorted(images) == sorted([*names, "no suffix"])
    assert (images["turned.jpg"]["width"], images["turned.jpg"]["height"]) == (40, 60)
    for image in images.values():
        for file in image["files"][:2]:
            with Image.open(tmp_path / "out" / file) as written:
                assert written.size == (image["width"], image["height"])


def test_broken_images_are_named_and_the_others_done(refine, small, tmp_path):
    reasons = broken_images(small)
    said = refine(small, "--batch-size", "2", code=1)
    assert f"{len(reasons)} could not be used" in said
    lines = said.splitlines()
    for name, reason in reasons.items():
        (line,) = [line for line in lines if f"{name}: " in line]
        assert reason in line
    assert len(content(tmp_path / "out")["images"]) == 3
    for folder in FOLDERS:
        assert len(files_below(tmp_path / "out" / folder)) == 3  # no half-written or hidden file
    assert "3 skipped" in refine(small, code=1)  # still says so the second time


def test_second_run_skips_and_adds(refine, small, tmp_path, monkeypatch):
    out = tmp_path / "out"
    refine(small)
    before = (out / RESULTS).read_bytes()
    stamps = {f: (out / f).stat().st_mtime_ns for f in files_below(out)}

    def never(*_):
        raise AssertionError("the model is not needed when nothing is left to do")

    with monkeypatch.context() as patch:
        patch.setattr("wsolrefine.cli.choice.load_localizer", never)
        assert "0 refined; 3 skipped" in refine(small)
    assert {f: (out / f).stat().st_mtime_ns for f in files_below(out)} == stamps

    shutil.copy(small / "coffee.png", small / "another.png")
    assert "1 refined; 3 skipped" in refine(small)
    assert [i["file_name"] for i in content(out)["images"]] == [
        "Katze ü 猫.JPG", "another.png", "coffee.png", "deep er/rocket.webp"
    ]  # fmt: skip
    coco(out)
    (small / "another.png").unlink()
    (out / "masks" / "coffee.png").unlink()  # lost: done again
    assert "1 refined; 2 skipped" in refine(small)
    assert len(content(out)["images"]) == 4  # what was done is still listed
    assert "3 refined" in refine(small, "--overwrite")
    ids = [a["id"] for a in content(out)["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert json.loads(before)["images"][1] == {
        **content(out)["images"][2], "id": 2
    }  # fmt: skip


def test_a_changed_image_is_done_again_and_a_spoilt_one_unlisted(refine, small, tmp_path):
    refine(small)
    with Image.open(photographs.FOLDER / "chelsea.png") as image:
        image.resize((50, 50)).save(small / "coffee.png")
    assert "1 refined; 2 skipped" in refine(small)
    sizes = {i["file_name"]: i["width"] for i in content(tmp_path / "out")["images"]}
    assert sizes["coffee.png"] == 50
    (small / "coffee.png").write_bytes(b"")
    assert "empty file" in refine(small, code=1)
    assert "coffee.png" not in {i["file_name"] for i in content(tmp_path / "out")["images"]}
    assert "masks/coffee.png" not in files_below(tmp_path / "out")


def test_other_settings_are_never_mixed(refine, small, tmp_path):
    out = tmp_path / "out"
    refine(small, "--classes", "top2")
    before = (out / RESULTS).read_bytes()
    said = refine(small / "coffee.png", "--threshold", "0.5", code=2)
    for change in ("classes: top2 then, top1 now", f"threshold: {METHODS[DEFAULT].threshold} then"):
        assert change in said
    assert "--overwrite" in said
    assert (out / RESULTS).read_bytes() == before
    refine(small / "coffee.png", "--threshold", "0.5", "--overwrite")
    assert content(out)["info"]["settings"]["threshold"] == 0.5
    assert files_below(out) == sorted([RESULTS, *(result_file(f, "coffee") for f in FOLDERS)])


def test_interruption_leaves_a_consistent_folder(refine, small, tmp_path, monkeypatch):
    real, calls = localizer.class_activation, []

    def stopping(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:  # one for the trial
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(localizer, "class_activation", stopping)
        said = refine(small, "--batch-size", "1", code=130)
    assert "2 refined" in said
    assert "Stopped with 1 left" in said
    listed = [file for image in content(tmp_path / "out")["images"] for file in image["files"]]
    assert sorted([*listed, RESULTS]) == files_below(tmp_path / "out")
    coco(tmp_path / "out")
    assert "1 refined; 2 skipped" in refine(small, "--batch-size", "1")
    resumed = content(tmp_path / "out")
    refine(small, "--batch-size", "1", out=tmp_path / "at once")
    assert resumed == json.loads(json.dumps(content(tmp_path / "at once")))


def test_a_failure_while_writing_keeps_what_was_there(tmp_path):
    target = tmp_path / "file.png"
    target.write_bytes(b"old")

    def interrupted():
        with files.replacing(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert files_below(tmp_path) == ["file.png"]
    assert target.read_bytes() == b"old"


def test_a_full_disk_stops_the_run_with_a_reason(refine, small, tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", _no_space)
    said = refine(small, code=1)
    assert "No space left on device" in said
    assert content(tmp_path / "out")["images"] == []


def _no_space(*_, **__):
    raise OSError(28, "No space left on device")


def test_inputs_of_every_form(refine, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (small / "loop").symlink_to(small, target_is_directory=True)
    (small / "deep er" / "loop").symlink_to("..", target_is_directory=True)
    (small / ".hidden.png").write_bytes(b"")
    (small / "notes.txt").write_text("no image, no complaint")
    assert "3 refined." in refine("in")
    assert "2 refined; 1 given more than once" in refine(
        "in/coffee.png", "in/./coffee.png", "in/**/*.webp", out="globs"
    )
    assert "3 refined" in refine("in/**", out="stars")
    (small / "a[1].png").write_bytes((small / "coffee.png").read_bytes())
    refine("in/a[1].png", out="brackets")
    assert content(tmp_path / "brackets")["images"][0]["file_name"] == "a[1].png"


def test_same_names_in_several_folders(refine, tmp_path):
    for folder in ("a/x", "b/x"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("one.png", "ONE.png", "one.jpg"):
            Image.new("RGB", (20, 20), "green").save(tmp_path / folder / name)
    arguments = tmp_path / "a" / "x", tmp_path / "b" / "x"
    refine(*arguments)
    out = tmp_path / "out"
    names = [i["file_name"] for i in content(out)["images"]]
    assert len({name.casefold() for name in names}) == 6
    assert len(files_below(out)) == 1 + 3 * 6
    assert "0 refined; 6 skipped" in refine(*reversed(arguments))  # each keeps its name
    assert [i["file_name"] for i in content(out)["images"]] == names


def test_results_are_never_input(refine, small, tmp_path):
    inside = small / "results"
    refine(small, out=inside)
    assert "3 skipped" in refine(small, out=inside)
    assert "3 skipped" in refine(*small.rglob("*.*"), out=inside)  # as a shell expands it
    refine(small, out=small)  # even when both are one folder
    assert "3 skipped" in refine(small, out=small)
    assert "no image found outside the result folders" in refine(
        inside / "maps", out=tmp_path / "o", code=2
    )


def test_nothing_to_do(refine, tmp_path):
    (tmp_path / "none").mkdir()
    assert "a folder without images" in refine(tmp_path / "none", code=2)
    assert "no such file or folder" in refine("missing.jpg", code=2)
    assert "the pattern matches nothing" in refine(tmp_path / "*.jpg", code=2)
    assert "an empty name" in refine("", code=2)
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a file" in refine(tmp_path / "pipe.png", code=2)
    assert not (tmp_path / "out").exists()


def test_one_wrong_name_does_not_stop_the_others(refine, small):
    said = refine(small, "missing.jpg", code=1)
    assert "3 refined" in said
    assert "missing.jpg: no such file or folder" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "1"], r"--threshold: expected a number in [0, 1), got 1.0"),
        (["--threshold", "nan"], "got nan"),
        (["--classes", "top0"], "classes: expected top1 to top1000"),
        (["--classes", "1000"], "classes: expected an index from 0 to 999, got 1000"),
        (["--classes", "espreso"], "close: 'espresso'"),
        (["--classes", ","], "got ''"),
        (["--layer", "_blocks.99"], "--layer: expected names"),
        (["--device", "abacus"], "--device: expected cpu, cuda"),
        (["--model", "nothing-of-the-kind"], "nothing-of-the-kind"),
        (["--model", "no.such.module:build"], "no"),
        (["--method", "magic"], "magic"),
        (["--batch-size", "0"], "batch-size"),
    ],
)
def test_wrong_options_touch_nothing(refine, small, tmp_path, options, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code = 1 if "module" in options[1] else 2
    assert message in refine(small / "coffee.png", *options, code=code)
    assert not (tmp_path / "out").exists()


def test_out_is_no_folder_or_no_results(refine, small, tmp_path):
    assert "expected a folder, got the file" in refine(small, out=small / "coffee.png", code=2)
    (tmp_path / "out").mkdir()
    for damage in ("", "{}", "[]", '{"images": [{"id": 1}], "annotations": []}', "\0"):
        (tmp_path / "out" / RESULTS).write_text(damage)
        assert "not a results file" in refine(small, code=2)
    refine(small / "coffee.png", "--overwrite")
    assert len(content(tmp_path / "out")["images"]) == 1


@pytest.mark.parametrize("method", ["scg", "sem", "gppl", "confseg", "cam"])
def test_methods_and_classes(refine, tmp_path, method):
    photo = photographs.FOLDER / "chelsea.png"
    name = photographs.classifier().class_names[285].upper()
    refine(photo, "--method", method, "--classes", f"{name}, 281,285")
    data = content(tmp_path / "out")
    assert [a["category_id"] for a in data["annotations"]] == [285, 281]
    assert [a["map"] for a in data["annotations"]] == [
        "maps/chelsea.285.png",
        "maps/chelsea.281.png",
    ]
    assert data["annotations"][0]["score"] > data["annotations"][1]["score"]


def test_layers_and_parts(refine, tmp_path):
    photo = photographs.FOLDER / "motorcycle_left.png"
    layers = ["--layer", "_blocks.10", "--layer", "_blocks.4"]
    refine(photo, *layers, "--threshold", "0.4")
    refine(photo, *layers, "--threshold", "0.4", "--parts", "all", out=tmp_path / "all")
    largest, everything = (content(tmp_path / o)["annotations"][0] for o in ("out", "all"))
    assert largest["area"] < everything["area"]
    small, large = (coco_mask.decode(a["segmentation"]) for a in (largest, everything))
    assert (large[small > 0] == 1).all()


def test_instances_are_an_annotation_each(refine, tmp_path, monkeypatch):
    """On photographs beside each other, so that there are several objects."""
    sides = [Image.open(photographs.FOLDER / n) for n in ("chelsea.png", "chelsea.png")]
    both = Image.new("RGB", (900, 300))
    for place, photo in enumerate(sides):
        both.paste(photo.resize((450, 300)), (450 * place, 0))
    both.save(tmp_path / "two.png")
    drawn, real = [], pictures.draw_boxes
    monkeypatch.setattr(
        pictures,
        "draw_boxes",
        lambda image, boxes, **o: drawn.append(boxes) or real(image, boxes, **o),
    )
    arguments = tmp_path / "two.png", "--threshold", "0.2", "--classes", "top2", "--parts"
    refine(*arguments, "instances")
    refine(*arguments, "all", out=tmp_path / "all")
    out = tmp_path / "out"
    assert "0 refined; 1 skipped" in refine(*arguments, "instances")
    assert "parts: instances then, all now" in refine(*arguments, "all", code=2)
    data = coco(out)
    assert data.dataset["info"]["settings"]["parts"] == "instances"
    found = data.loadAnns(data.getAnnIds())
    assert [a["id"] for a in found] == list(range(1, len(found) + 1))
    (image,) = data.dataset["images"]
    assert len(image["files"]) == 2 * len(FOLDERS)
    several = [a for a in found if a["category_id"] == found[0]["category_id"]]
    assert len(several) > 1
    scores = [a["score"] for a in several]
    assert scores == sorted(scores, reverse=True)
    assert len({a["mask"] for a in several}) == 1
    with Image.open(out / several[0]["mask"]) as mask:
        pixels = np.asarray(mask)
    masks = [data.annToMask(a) for a in several]
    np.testing.assert_array_equal(sum(masks) * 255, pixels)  # no pixel belongs to two
    whole = content(tmp_path / "all")["annotations"][0]
    assert scores[0] == whole["score"]
    assert [len(boxes) for boxes in drawn[:2]] == [len(several), len(found) - len(several)]
    x0, y0, w, h = np.transpose([a["bbox"] for a in several])
    np.testing.assert_array_equal(drawn[0], np.stack([x0, y0, x0 + w, y0 + h], 1))


def test_batch_size_changes_nothing(refine, small, tmp_path):
    refine(small, "--batch-size", "1")
    refine(small, "--batch-size", "3", out=tmp_path / "three")
    for one, three in zip(
        content(tmp_path / "out")["annotations"],
        content(tmp_path / "three")["annotations"],
        strict=True,
    ):
        np.testing.assert_allclose(one["bbox"], three["bbox"], atol=1)
        assert one["score"] == pytest.approx(three["score"], abs=1e-4)


def test_own_model_from_the_working_folder(refine, small, tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 9, 16), nn.ReLU(), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(8, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    refine(small, "--model", "own_model:build", "--classes", "top5")
    data = content(tmp_path / "out")
    assert data["categories"] == [{"id": i, "name": f"class {i}"} for i in range(5)]
    assert len(data["images"][0]["files"]) == 15


class FeaturesFirst(nn.Module):
    """Return the 16 features of an image before the scores of its 4 classes."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 16, 9, 16), nn.Linear(16, 4)

    def forward(self, images):
        features = self.body(images).relu().mean((2, 3))
        return features, self.head(features)


def test_features_beside_the_logits_are_no_classes(refine, small, tmp_path):
    model = "--model", "tests.cli.test_refine:FeaturesFirst"
    refine(small / "coffee.png", *model, "--classes", "top4")
    data = content(tmp_path / "out")
    assert [category["id"] for category in data["categories"]] == [0, 1, 2, 3]
    assert len(data["images"][0]["files"]) == 3 * 4
    said = refine(small / "coffee.png", *model, "--classes", "9", out=tmp_path / "nine", code=2)
    assert "classes: expected an index from 0 to 3, got 9" in said


def test_scores_that_are_not_numbers(refine, small, tmp_path, monkeypatch):
    real = localizer.class_activation

    def spoilt(*arguments, **options):
        found = real(*arguments, **options)
        found.logits[0] = float("nan")
        return found

    monkeypatch.setattr(localizer, "class_activation", spoilt)
    said = refine(small, code=1)
    assert said.count(": class scores: expected finite numbers, got NaN or infinity") == 1
    assert len(content(tmp_path / "out")["images"]) == 2


def test_model_errors_keep_what_is_done(refine, small, tmp_path, monkeypatch):
    real, calls = localizer.class_activation, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) > 1:  # not the trial
            raise RuntimeError("CUDA out of memory")
        return real(*arguments, **options)

    monkeypatch.setattr(localizer, "class_activation", failing)
    assert "CUDA out of memory" in refine(small, code=1)
    assert content(tmp_path / "out")["images"] == []


def test_huge_image_is_cut_out_small_and_enlarged(refine, tmp_path):
    with Image.open(photographs.FOLDER / "coffee.png") as coffee:
        coffee.resize((3000, 2000)).save(tmp_path / "huge.jpg")
    refine(tmp_path / "huge.jpg")
    refine(photographs.FOLDER / "coffee.png", out=tmp_path / "small")
    large, small = (content(tmp_path / o)["annotations"][0] for o in ("out", "small"))
    np.testing.assert_allclose(np.array(large["bbox"]) / 5, small["bbox"], atol=8)
    with Image.open(tmp_path / "out" / large["mask"]) as mask:
        assert mask.size == (3000, 2000)
        np.testing.assert_array_equal(coco_mask.decode(large["segmentation"]) * 255, mask)
    with Image.open(tmp_path / "out" / large["overlay"]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (1024, 683))


@pytest.mark.parametrize(
    ("write", "folders"),
    [("none", []), ("masks", ["masks"]), ("overlays, maps", ["maps", "overlays"])],
)
def test_only_the_pictures_that_are_asked_for_are_written(refine, small, tmp_path, write, folders):
    refine(small, "--classes", "top2", out=tmp_path / "all")
    refine(small, "--classes", "top2", "--write", write)
    out, entire = content(tmp_path / "out"), content(tmp_path / "all")
    assert {file.split("/")[0] for file in files_below(tmp_path / "out")} == {RESULTS, *folders}
    pictures = ("map", "mask", "overlay")
    for found, whole in zip(out["annotations"], entire["annotations"], strict=True):
        kept = {key: value for key, value in whole.items() if key not in pictures}
        assert found == kept | {key: whole[key] for key in pictures if f"{key}s" in folders}
    for found, whole in zip(out["images"], entire["images"], strict=True):
        assert found["files"] == [f for f in whole["files"] if f.split("/")[0] in folders]
    assert "0 refined; 3 skipped" in refine(small, "--classes", "top2", "--write", write)
    assert "write: " in refine(small, "--classes", "top2", code=2)


def test_wrong_pictures_are_refused(refine, small):
    assert "--write: expected none or maps, masks, overlays, got 'plots'" in refine(
        small, "--write", "maps,plots", code=2
    )
    assert "--write: expected none or" in refine(small, "--write", "none,maps", code=2)
    said = refine(small, "--write", "maps", "--overlay-size", 500, code=2)
    assert "--overlay-size: --write names no overlays" in said


@pytest.mark.parametrize(("longest", "size"), [(100, (100, 67)), (2000, (2000, 1333)),
                                               (5000, (3000, 2000))])  # fmt: skip
def test_overlays_of_another_size_change_nothing_else(refine, tmp_path, longest, size):
    with Image.open(photographs.FOLDER / "coffee.png") as coffee:
        coffee.resize((3000, 2000)).save(tmp_path / "huge.jpg")
    refine(tmp_path / "huge.jpg", "--write", "none", out=tmp_path / "none")
    refine(tmp_path / "huge.jpg", "--overlay-size", longest)
    (found,), (whole,) = (content(tmp_path / o)["annotations"] for o in ("out", "none"))
    with Image.open(tmp_path / "out" / found["overlay"]) as picture:
        assert picture.size == size
    assert {key: found[key] for key in whole} == whole


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000)])
def test_a_reduced_photograph_has_the_objects_of_the_whole_one(refine, tmp_path, size, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in ("coffee.png", "chelsea.png", "rocket.jpg"):
        with Image.open(photographs.FOLDER / name) as image:
            image.convert("RGB").resize(size).save(tmp_path / f"in/{name[:6]}.jpg")
    plan = reading.Plan(Localizer(photographs.classifier()), 1, tmp_path)
    for path in (tmp_path / "in").iterdir():
        reduced = reading.load(plan, Found(path, path.name, path.stem))
        assert reduced.size == size
        away = (reduced.pixels - plan.localizer.prepare_image(read_image(path))).abs() * 128
        assert away.max() < 1.5  # gray levels: with Pillow's reduce(2) it is as much
        assert away.mean() < 0.15
    refine(tmp_path / "in", "--write", "none")
    monkeypatch.setattr(reading, "pixels_needed", lambda preprocess: None)
    refine(tmp_path / "in", "--write", "none", out=tmp_path / "whole")
    reduced, whole = (content(tmp_path / o) for o in ("out", "whole"))
    for one, other in zip(reduced["images"], whole["images"], strict=True):
        assert (one["width"], one["height"]) == (other["width"], other["height"]) == size
    for one, other in zip(reduced["annotations"], whole["annotations"], strict=True):
        assert one["category_id"] == other["category_id"]
        assert one["score"] == pytest.approx(other["score"], abs=0.02)
        (iou,) = coco_mask.iou([one["segmentation"]], [other["segmentation"]], [0])[0]
        assert iou > 0.9


def test_shares_have_all_images_and_none_twice(refine, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        Image.new("RGB", (9, 9), (20 * number, 0, 0)).save(tmp_path / f"in/{number}.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "in/3.gif")
    options = "--model", "tests.cli.test_refine:FeaturesFirst", "--threshold", 0
    refine(tmp_path / "in", *options)
    names = []
    for share in range(3):
        out = tmp_path / f"share{share}"
        refine(tmp_path / "in", *options, "--shard", f"{share}/3", out=out)
        names += [image["file_name"] for image in content(out)["images"]]
        assert f"0 refined; {len(content(out)['images'])} skipped" in refine(
            tmp_path / "in", *options, "--shard", f"{share}/3", out=out
        )
    assert len(names) == 13
    whole = {a["map"]: (tmp_path / "out" / a["map"]).read_bytes()
             for a in content(tmp_path / "out")["annotations"]}  # fmt: skip
    shares = {
        a["map"]: (tmp_path / f"share{share}" / a["map"]).read_bytes()
        for share in range(3) for a in content(tmp_path / f"share{share}")["annotations"]
    }  # fmt: skip
    assert shares == whole
    refine(tmp_path / "in", *options, "--shard", "1/3", out=tmp_path / "share0")  # to add them
    assert len(content(tmp_path / "share0")["images"]) > len(names) // 3
    said = refine(tmp_path / "in", *options, "--shard", "3/3", code=2)
    assert "--shard: expected i/n, with i from 0 to n - 1" in said


@pytest.mark.parametrize("workers", [1, 7])
def test_the_number_of_threads_changes_nothing(refine, small, tmp_path, workers):
    refine(small, "--batch-size", 1, out=tmp_path / "usual")
    refine(small, "--batch-size", 1, "--workers", workers)
    for file in files_below(tmp_path / "usual"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "usual" / file).read_bytes()


def test_a_second_run_at_the_same_time_is_refused(refine, small, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with files.lock_folder(out):
        assert "another run is writing to" in refine(small, code=1)
    assert "3 refined" in refine(small)


def test_termination_is_an_interruption():
    before = signal.getsignal(signal.SIGTERM)
    with files.termination_as_interrupt(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_as_before_when_one_comes_while_they_are_switched_off(monkeypatch, sent):
    numbers = signal.SIGINT, signal.SIGTERM
    before, change = [signal.getsignal(number) for number in numbers], signal.signal

    def interrupted(number, handler):
        change(number, handler)
        if number == sent and handler not in before:
            raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", interrupted)
    with pytest.raises(KeyboardInterrupt), files.uninterrupted():
        pass
    assert [signal.getsignal(number) for number in numbers] == before


def test_names_of_any_length_get_results_of_their_own(refine, small, tmp_path):
    for name in ("x" * 251 + ".png", "x" * 250 + "y.png", "猫" * 83 + ".png", "x" * 255):
        shutil.copy(small / "coffee.png", small / name)
    deep = small.joinpath(*["d" * 120] * 9)
    deep.mkdir(parents=True)
    shutil.copy(small / "coffee.png", deep / "z.png")
    assert "8 refined" in refine(small, small / ("x" * 255), "--classes", "top2")
    images = content(tmp_path / "out")["images"]
    assert len({image["file_name"] for image in images}) == 8
    assert max(len(image["file_name"].encode()) for image in images) <= 800
    sources = {os.path.realpath(tmp_path / "out" / image["source"]) for image in images}
    assert os.path.realpath(deep / "z.png") in sources
    assert all((tmp_path / "out" / file).is_file() for image in images for file in image["files"])
    assert "0 refined; 8 skipped" in refine(small, small / ("x" * 255), "--classes", "top2")


def test_a_name_that_is_not_utf8(refine, small, tmp_path):
    name = os.fsdecode(b"\xff.png")
    try:
        shutil.copy(small / "coffee.png", small / name)
        (small / os.fsdecode(b"\xfe.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert r"\udcfe.png: expected an image, got an empty file" in refine(small, code=1)
    assert name in {image["file_name"] for image in content(tmp_path / "out")["images"]}
    coco(tmp_path / "out")
