"""``wsolrefine train --checkpoint --class-names``: the user's own weights as the backbone."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support import zoo
from tests.support.small_transformers import clip
from tests.support.training import BACKBONE, folder_of, header, one_thread  # noqa: F401
from wsolrefine import load_classifier
from wsolrefine.cli.train.settings import check_content
from wsolrefine.models import Preprocess
from wsolrefine.models.efficientnet_lite import build_lite
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Distill, RecipeMetadata, load_recipe, save_recipe

ONCE = ["--epochs", 1, "--set", "teacher=cam"]


@pytest.fixture
def checkpoint(tmp_path):
    """A file of other weights than the backbone has, and a file of names."""
    state = zoo.seeded(zoo.MobileNetV2, seed=5).state_dict()
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {f"model.{name}": value for name, value in state.items()}}, path)
    (tmp_path / "names.txt").write_text("".join(f"kind {n}\n" for n in range(zoo.CLASSES)))
    return path


def given(checkpoint):
    return ["--checkpoint", checkpoint, "--class-names", checkpoint.with_name("names.txt")]


def equal(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("rate", [0.0, 0.001])
def test_the_recipe_has_the_weights_and_the_names(train, checkpoint, tmp_path, rate):
    """Also where the backbone learns, and the teacher is a copy of its own."""
    images = folder_of(tmp_path / "images", 3)
    learns = ["--set", f"backbone_learning_rate={rate}"]
    said = train("distill", *ONCE, *learns, *given(checkpoint), data=("images", images))
    assert "checkpoint" in said
    assert "best.ckpt" in said
    file = tmp_path / "run/distill.safetensors"
    recipe = load_recipe(file, backbone=BACKBONE)
    state = zoo.seeded(zoo.MobileNetV2, seed=5).state_dict()
    assert equal(recipe.backbone.model, state) is (rate == 0)
    close = max(
        (value - state[name]).abs().max().item()
        for name, value in recipe.backbone.model.named_parameters()
    )
    assert close < 0.1  # it has learned for a few steps from there
    assert recipe.class_names == [f"kind {n}" for n in range(zoo.CLASSES)]


def test_a_head_of_other_classes_is_rebuilt_from_the_file(call, tmp_path):
    torch.manual_seed(0)
    mine = build_lite("efficientnet-lite0", 3)
    torch.save(mine.state_dict(), tmp_path / "mine.pt")
    (tmp_path / "names.json").write_text('["cat", "dog", "hen"]')
    images = folder_of(tmp_path / "images", 2)
    call(
        *("train", "distill", "-d", "images", "--root", images, "--out", tmp_path / "run", *ONCE),
        *("--checkpoint", tmp_path / "mine.pt", "--class-names", tmp_path / "names.json"),
        *("-b", 4, "--size", 40, "--crop", 32, "--device", "cpu", "--set", "width=8"),
    )
    file = tmp_path / "run/distill.safetensors"
    assert json.loads(header(file)["backbone"]) == "efficientnet-lite0"
    recipe = load_recipe(file)
    assert equal(recipe.backbone.model, mine.state_dict())
    assert recipe.num_classes == 3
    assert recipe.class_names == ["cat", "dog", "hen"]
    call("refine", images, "--recipe", file, "--out", tmp_path / "refined")
    content = json.loads((tmp_path / "refined/wsolrefine.json").read_text())
    assert {one["name"] for one in content["categories"]} == {"cat", "dog", "hen"}


@pytest.mark.parametrize("classes", [None, 3])
def test_an_architecture_of_a_library_gets_the_head_of_the_weights(tmp_path, monkeypatch, classes):
    made = []

    class Timm:
        @staticmethod
        def create_model(name, pretrained, **options):
            made.append((name, pretrained, options.get("num_classes")))
            model = zoo.MobileNetV2()
            if options:
                (head,) = (m for m in model.modules() if isinstance(m, torch.nn.Linear))
                head.__init__(head.in_features, options["num_classes"])
            return model

    monkeypatch.setitem(sys.modules, "timm", Timm)
    model = Timm.create_model("tiny", False, **({} if classes is None else {"num_classes": 3}))
    layers = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Conv2d)]
    layers = [layers[1], layers[-1]]
    channels = [dict(model.named_modules())[name].out_channels for name in layers]
    number = classes or zoo.CLASSES
    recipe = Distill(FeatureList(model, layers), channels, number, student_stages=(-2, -1)).eval()
    about = RecipeMetadata(
        "timm:tiny", tuple(layers), tuple(channels), number, preprocess=Preprocess((32, 32))
    )
    save_recipe(tmp_path / "recipe.safetensors", recipe, about)
    made.clear()
    found = load_recipe(tmp_path / "recipe.safetensors")
    assert all(not pretrained for _, pretrained, _ in made)
    assert [one[2] for one in made][0::2] == [None, 3][: 1 if classes is None else 2]
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(found(images).logits, recipe(images).logits)
        assert torch.equal(found(images).maps, recipe(images).maps)
    assert found(images).logits.shape == (2, number)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize(
    ("recipe", "stages"),
    [
        ("distill", ["student_stages=-1,-1"]),
        ("csoa", ["stage=-1", "auxiliary_stage=-1", "embedding_stage=-1"]),
    ],
)
def test_texts_as_the_classes_of_the_backbone(call, tmp_path, monkeypatch, kind, recipe, stages):
    library = pytest.importorskip("transformers", reason="CLIP is a model of transformers")
    monkeypatch.chdir(tmp_path)
    clip(library, kind)
    Path("texts.txt").write_text("a cup\na saucer\na photo\n")
    folder_of(tmp_path / "images/one", 2), folder_of(tmp_path / "images/two", 2)
    source = ("train", recipe, "-d", "folder", "--root", "images", "--out", "run", "--epochs", 1)
    small = ("-b", 4, "--size", 52, "--crop", 48, "--device", "cpu", "--set", "width=8")
    small += tuple(word for stage in stages for word in ("--set", stage))  # it has one
    said = call(*source, *small, "--backbone", "clip:model", code=2)
    assert "--class-names: expected the texts that clip:model compares images with" in said
    call(*source, *small, "--backbone", "clip:model", "--class-names", "texts.txt")
    found = load_recipe(f"run/{recipe}.safetensors", backbone="clip:model")
    texts = ["a cup", "a saucer", "a photo"]
    assert found.class_names == (texts if recipe == "distill" else ["one", "two"])
    if recipe == "distill":  # the backbone is frozen
        loaded = load_classifier("clip:model", class_names=texts)
        assert equal(found.backbone.model, loaded.model.state_dict())


# Another time --------------------------------------------------------------------------------------


def test_a_run_is_continued_with_the_same_file_only(train, call, checkpoint, tmp_path):
    train("csoa", "--epochs", 1, "--checkpoint", checkpoint)
    out, again = tmp_path / "run", ("--resume", "--backbone", BACKBONE)
    content = (out / "run.json").read_text()
    assert checkpoint.name not in content  # the hash alone
    resume = ("train", "csoa", "--out", out, *again)
    said = call(*resume, code=2)
    assert f"--checkpoint: expected the file of the run in {out} again, SHA-256 " in said
    assert said.endswith("got none\n")
    other = tmp_path / "other.pt"
    torch.save(zoo.seeded(zoo.MobileNetV2, seed=6).state_dict(), other)
    assert "got another one" in call(*resume, "--checkpoint", other, code=2)
    moved = checkpoint.rename(tmp_path / "moved.ckpt")
    before = load_file(out / "csoa.safetensors")
    assert "Continuing after epoch 1." in call(*resume, "--checkpoint", moved)
    after = load_file(out / "csoa.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert (out / "run.json").read_text() == content
    said = train("csoa", "--checkpoint", moved, code=2)  # a new run: it tells how to continue
    assert f"--resume --backbone {BACKBONE} --checkpoint {moved}" in said


def test_a_run_without_a_file_takes_none(train, call, checkpoint, tmp_path):
    train("csoa", "--epochs", 1)
    out = tmp_path / "run"
    assert "checkpoint" not in json.loads((out / "run.json").read_text())["settings"]
    said = call(
        *("train", "csoa", "--out", out, "--resume", "--backbone", BACKBONE),
        *("--checkpoint", checkpoint),
        code=2,
    )
    assert f"--checkpoint: expected none, got one for the run in {out}" in said


@pytest.mark.parametrize("value", ["x", "/etc/passwd", None, 3, "0" * 63])
def test_the_hash_of_a_file_of_settings_is_checked(train, call, checkpoint, tmp_path, value):
    train("csoa", "--epochs", 1, "--checkpoint", checkpoint)
    content = json.loads((tmp_path / "run/run.json").read_text())
    check_content(content)
    content["settings"]["checkpoint"] = value
    with pytest.raises((TypeError, ValueError), match="checkpoint: expected"):
        check_content(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "none.pt"], "--checkpoint: expected a file, got none.pt (no such"),
        (["--checkpoint", "names.txt"], "--checkpoint: expected a file of torch.save or"),
        (["--checkpoint", "other.pt"], "--checkpoint: expected the weights of "),
        (["--class-names", "names.txt"], "--class-names: csoa has the classes of the data set"),
    ],
)
def test_what_is_refused(train, checkpoint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(2, 3).state_dict(), "other.pt")
    assert message in train("csoa", *arguments, code=2)
    assert not (tmp_path / "run").exists()


def test_names_of_other_classes_are_refused(train, checkpoint, tmp_path):
    checkpoint.with_name("names.txt").write_text("one\ntwo\n")
    images = folder_of(tmp_path / "images", 2)
    said = train("distill", *ONCE, *given(checkpoint), data=("images", images), code=2)
    assert f"--class-names: expected {zoo.CLASSES} as the head has classes, got 2" in said
