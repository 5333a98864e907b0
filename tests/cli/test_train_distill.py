"""``wsolrefine train distill``: images without labels, and the classes of the backbone."""

import json
import shutil

import pytest
import torch
from PIL import Image

from tests.support import zoo
from tests.support.training import BACKBONE, folder_of, header, one_thread, same  # noqa: F401
from wsolrefine import Localizer, load_classifier
from wsolrefine.recipes import Distill, load_recipe

ONCE = ["--epochs", 1, "--set", "teacher=scg"]


@pytest.fixture
def images(tmp_path):
    """A folder of images without classes: some at the top, some further down."""
    folder = folder_of(tmp_path / "images", 3)
    for path in (folder / "a").iterdir():
        path.rename(folder / f"top-{path.name}")
    (folder / "a").rmdir()
    return folder


def test_images_without_classes_are_enough(train, call, images, tmp_path):
    said = train("distill", *ONCE, data=("images", images))
    words = said.split()
    assert words[words.index("teacher") + 1 :][:2] == ["MobileNetV2,", "scg"]
    assert "images 6 pixels" in " ".join(words)  # and not of how many classes
    file = tmp_path / "run/distill.safetensors"
    found = {key: json.loads(value) for key, value in header(file).items() if key != "format"}
    assert found["recipe"] == "distill"
    assert found["num_classes"] == zoo.CLASSES
    assert found["hyper_parameters"]["teacher"] == "scg"
    recipe = load_recipe(file, backbone=BACKBONE)
    assert type(recipe) is Distill
    classifier = load_classifier(BACKBONE)
    assert found["class_names"] == classifier.class_names
    assert recipe.threshold == Localizer(classifier, refine="scg").threshold
    # The backbone is frozen, so the scores are those of the classifier.
    batch = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(recipe(batch).logits, recipe.backbone.model(batch))
    call("refine", images, "-r", file, "-m", BACKBONE, "--out", tmp_path / "refined")
    assert len([*(tmp_path / "refined/masks").rglob("*.png")]) == 6


def test_labels_do_not_matter_unless_they_are_asked_for(train, images, tmp_path):
    """The images have the same order in both, and so the same crops."""
    sorted_images = tmp_path / "one class" / "all"
    shutil.copytree(images, sorted_images)
    train("distill", *ONCE, data=("images", images))
    train("distill", *ONCE, data=("folder", sorted_images.parent), out=tmp_path / "labels")
    assert same(tmp_path / "run/distill.safetensors", tmp_path / "labels/distill.safetensors")


def test_a_run_on_images_without_classes_is_continued(train, images, tmp_path):
    train("distill", *ONCE, data=("images", images))
    before = tmp_path / "run/distill.safetensors"
    moved = before.rename(tmp_path / "before.safetensors")
    said = train("distill", "--resume", data=None)
    assert "Continuing after epoch 1." in said
    assert same(moved, before)
    Image.new("RGB", (9, 9)).save(images / "more.png")
    assert ": 6, got 7" in train("distill", "--resume", data=None, code=2)


def test_a_backbone_that_learns_has_a_teacher_of_its_own(train, images, tmp_path):
    rate = ["--set", "backbone_learning_rate=0.001"]
    said = train("distill", *ONCE, *rate, data=("images", images))
    words = said.split()
    assert words[words.index("teacher") + 1 :][:2] == [f"{BACKBONE},", "scg"]
    recipe = load_recipe(tmp_path / "run/distill.safetensors", backbone=BACKBONE)
    assert recipe.teacher is None
    first = load_classifier(BACKBONE).model.state_dict()
    now = recipe.backbone.model.state_dict()
    assert any(not torch.equal(first[key], now[key]) for key in first)


def test_the_labels_of_the_classes_of_the_backbone(train, tmp_path):
    """The teacher's maps of the labels, instead of the predicted classes."""
    folder = folder_of(tmp_path / "classes")
    for number in range(zoo.CLASSES - 2):
        shutil.copytree(folder / "a", folder / f"c{number}")
    train("distill", *ONCE, data=("folder", folder), out=tmp_path / "predicted")
    train("distill", *ONCE, "--set", "use_labels=true", data=("folder", folder))
    files = [tmp_path / name / "distill.safetensors" for name in ("run", "predicted")]
    assert not same(*files)


@pytest.mark.parametrize(
    ("recipe", "data", "options", "message"),
    [
        ("csoa", "images", [], "--dataset: expected one with labels for csoa, got images"),
        ("distill", "images", ["--classes", 3], "--classes: distill has the classes of its backbone"),
        ("distill", "images", ["--split", "train"], "--split: --dataset images does not use it"),
        ("distill", "images", ["--set", "teacher=sgc"], "--set teacher: expected 'fast', 'balanced', "),
        ("distill", "images", ["--set", "teacher=none"], "--set teacher: expected the name of a method"),
        ("distill", "images", ["--set", "teacher=sgc", "--set", "backbone_learning_rate=1"],
         "--set teacher: expected one of fast, balanced, "),
        ("distill", "images", ["--set", "use_labels=true"],
         f"--set use_labels: expected the {zoo.CLASSES} classes of --backbone, got 0"),
        ("distill", "images", ["--set", "student=net"], "--set student: expected one of generator, mff"),
        ("distill", "images", ["--size", 8, "--crop", 8],
         "--set student_stages: expected an index of 2 stages, got -3"),
    ],
)  # fmt: skip
def test_what_is_refused(train, images, tmp_path, recipe, data, options, message):
    assert message in train(recipe, *options, data=(data, images), code=2)
    assert not (tmp_path / "run").exists()


def test_a_folder_without_an_image(train, tmp_path):
    (tmp_path / "none").mkdir()
    said = train("distill", data=("images", tmp_path / "none"), code=1)
    assert "--root: expected at least one image, got none in" in said
