"""``wsolrefine train``, and ``refine`` and ``evaluate`` with the file that it leaves."""

import json
import os
import shlex
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.support import zoo
from tests.support.odd_images import odd_images
from tests.support.training import (  # noqa: F401
    BACKBONE,
    SMALL_EDGES,
    TINY,
    folder_of,
    header,
    one_thread,
    run_command,
    same,
)
from wsolrefine.cli.train.batches import Batches
from wsolrefine.cli.train.overrides import scale_phases
from wsolrefine.cli.train.trainer import EpochLog
from wsolrefine.data import Annotation
from wsolrefine.metrics import prepare_score_map
from wsolrefine.models import Preprocess
from wsolrefine.nn import FeatureList
from wsolrefine.recipes import Ornet, RecipeMetadata, load_recipe, save_recipe
from wsolrefine.recipes.checkpoint import RECIPES


@pytest.fixture(scope="module")
def spol(cub, tmp_path_factory):
    """A file of a recipe that was trained for two epochs."""
    out = tmp_path_factory.mktemp("trained") / "run"
    source = ["train", "spol", "-d", "cub", "--root", cub.root, "--epochs", 2, "--out", out]
    run_command(*source, *TINY)
    return out / "spol.safetensors"


# The run ------------------------------------------------------------------------------------------


def test_what_a_run_says_and_leaves(train, cub, tmp_path):
    said = train("spol", "--epochs", 3)
    out = tmp_path / "run"
    assert "spol, 3 epochs" in said
    assert "12 of 2 classes" in said
    assert all(f"epoch {number} of 3: loss " in said for number in (1, 2, 3))
    assert f"Wrote {out / 'spol.safetensors'}" in said
    names = {path.relative_to(out).as_posix() for path in out.rglob("*")}
    files = {"spol.safetensors", "run.json", "losses.csv", "checkpoints/epoch-002.ckpt"}
    assert names == {*files, "checkpoints"}
    head, *rows = (out / "losses.csv").read_text().splitlines()
    assert head == "epoch,step,loss"
    assert [row.split(",")[:2] for row in rows] == [["0", "3"], ["1", "6"], ["2", "9"]]
    assert f"epoch 1 of 3: loss {float(rows[0].split(',')[2]):.4g}" in said
    said = {
        key: json.loads(value)
        for key, value in header(out / "spol.safetensors").items()
        if key != "format"
    }
    assert said["recipe"] == "spol"
    assert said["backbone"] == BACKBONE
    assert said["class_names"] == cub.class_names
    assert (
        said["hyper_parameters"]["cam_epochs"] + said["hyper_parameters"]["segmentation_epochs"]
        == 3
    )
    assert said["hyper_parameters"]["width"] == 8
    assert said["preprocess"]["size"] == [32, 32]
    assert said["threshold"] == 0.2
    mode = (out / "spol.safetensors").stat().st_mode
    assert mode == (out / "run.json").stat().st_mode  # as readable as any other file


PHASES = {  # epochs by phase, and the first epoch of each phase but the first
    "spa": (["--epochs", 3, "--set", "warmup_epochs=1"], [1]),
    "csoa": (["--epochs", 2], [1]),
    "ornet": (["--epochs", 3], [1, 2]),
    "sem_edges": (["--epochs", 2, *SMALL_EDGES], [1]),
    "spol": (["--epochs", 3], [1, 2]),
    "distill": (["--epochs", 2], [1]),
}


@pytest.mark.parametrize("recipe", PHASES)
def test_a_run_that_stops_goes_on_as_if_it_had_not(train, call, tmp_path, recipe, monkeypatch):
    options, breaks = PHASES[recipe]
    if recipe == "spa":
        options = ["--set", "epochs=3", "--set", "warmup_epochs=1"]
    file = f"{recipe}.safetensors"
    train(recipe, *options, out=tmp_path / "at once")
    begin = EpochLog.on_train_epoch_start
    for epoch in breaks:
        out = tmp_path / str(epoch)

        def stopping(self, trainer, module, epoch=epoch):
            begin(self, trainer, module)
            if trainer.current_epoch == epoch:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EpochLog, "on_train_epoch_start", stopping)
            said = train(recipe, *options, out=out, code=130)
        (command,) = [line for line in said.splitlines() if line.startswith("To continue: ")]
        words = shlex.split(command.removeprefix("To continue: "))
        assert words[:2] == ["wsolrefine", "train"]
        assert "--resume" in words
        assert not (out / file).exists()
        call(*words[1:])
        assert same(tmp_path / "at once" / file, out / file)


def test_workers_change_nothing_and_the_seed_does(train, tmp_path):
    train("csoa", "--epochs", 1)
    train("csoa", "--epochs", 1, "--workers", 1, out=tmp_path / "workers")
    train("csoa", "--epochs", 1, "--seed", 1, out=tmp_path / "seed")
    first, workers, seed = (tmp_path / f"{n}/csoa.safetensors" for n in ("run", "workers", "seed"))
    assert same(first, workers)
    assert not same(first, seed)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_in_the_middle_of_an_epoch(train, tmp_path, monkeypatch):
    """A real signal; what went before the epoch is kept, and a second one is heard again."""

    def interrupted(self, trainer, *_):
        if trainer.global_step == 5:  # of 3 an epoch
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_batch_end", interrupted)
        said = train("csoa", "--epochs", 3, code=130)
    assert "Stopped after 1 of 3 epochs." in said
    assert signal.getsignal(signal.SIGINT) is before
    (last,) = (tmp_path / "run/checkpoints").iterdir()
    assert last.name == "epoch-000.ckpt"
    torch.load(last, weights_only=True)
    assert "epoch 1 of" not in train("csoa", "--resume", data=None)
    train("csoa", "--epochs", 3, out=tmp_path / "at once")
    assert same(tmp_path / "run/csoa.safetensors", tmp_path / "at once/csoa.safetensors")


@pytest.mark.usefixtures("heard")
def test_ctrl_c_before_the_first_epoch_is_done(train, tmp_path, monkeypatch):
    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_batch_end", interrupted)
        assert "Stopped after 0 of 1 epochs." in train("csoa", "--epochs", 1, code=130)
    train("csoa", "--resume", data=None)
    train("csoa", "--epochs", 1, out=tmp_path / "at once")
    assert same(tmp_path / "run/csoa.safetensors", tmp_path / "at once/csoa.safetensors")


def test_a_run_that_is_done_is_done(train, tmp_path):
    train("csoa", "--epochs", 1)
    file = tmp_path / "run/csoa.safetensors"
    kept = tmp_path / "kept.safetensors"
    file.rename(kept)
    assert "epoch 1 of" not in train("csoa", "--resume", data=None)
    assert same(file, kept)


def test_every_checkpoint_is_kept_if_asked_for(train, tmp_path):
    train("csoa", "--epochs", 2, "--keep-all")
    found = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert found == {"epoch-000.ckpt", "epoch-001.ckpt"}


# Images -------------------------------------------------------------------------------------------


def test_images_of_every_kind(train, tmp_path):
    folder = folder_of(tmp_path / "images")
    odd_images(folder / "b")
    shutil.rmtree(folder / "b/.cache", ignore_errors=True)
    train("csoa", "--epochs", 1, data=("folder", folder))
    about = load_recipe(tmp_path / "run/csoa.safetensors", backbone=BACKBONE).metadata
    assert about.class_names == ["a", "b"]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(train, tmp_path, workers):
    folder = folder_of(tmp_path / "images")
    (folder / "b/broken.png").write_bytes((folder / "b/0.png").read_bytes()[:100])
    said = train("csoa", "--epochs", 1, "--workers", workers, data=("folder", folder), code=1)
    assert f"{folder / 'b/broken.png'}: expected an image, got a damaged or truncated" in said
    assert "--resume" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run/csoa.safetensors").exists()


@pytest.mark.parametrize("size", [0, 100])
def test_a_run_continues_with_the_image_mended_that_stopped_it(train, tmp_path, size):
    folder = folder_of(tmp_path / "images")
    image, out = folder / "b/0.png", tmp_path / "run"
    whole = image.read_bytes()
    image.write_bytes(whole[:size])
    assert f"{image}: expected" in train("csoa", "--epochs", 1, data=("folder", folder), code=1)
    image.write_bytes(whole)
    train("csoa", "--resume", data=None)
    train("csoa", "--epochs", 1, data=("folder", folder), out=tmp_path / "at once")
    assert same(out / "csoa.safetensors", tmp_path / "at once/csoa.safetensors")


def test_images_that_are_not_there(train, cub, tmp_path):
    shutil.copytree(cub.root, tmp_path / "cub")
    lost = tmp_path / "cub/images" / cub.splits["train"][3].image_id
    lost.unlink()
    said = train("csoa", data=("cub", tmp_path / "cub"), code=1)
    assert f"{lost}: expected an image, got no file" in said


@pytest.mark.parametrize(
    ("make", "got"),
    [(os.mkfifo, "not a file"), (lambda path: path.symlink_to("nowhere"), "a broken link")],
)
def test_something_that_is_named_like_an_image(train, tmp_path, make, got):
    folder = folder_of(tmp_path / "images")
    make(folder / "b/2.png")
    said = train("csoa", data=("folder", folder), code=1)
    assert said == f"Error: {folder / 'b/2.png'}: expected an image, got {got}\n"


def test_the_option_of_a_folder_is_named(train, tmp_path):
    folder = folder_of(tmp_path / "images")
    shutil.copy(folder / "b/0.png", folder)
    said = train("csoa", data=("folder", folder), code=1)
    assert said.startswith("Error: --root: expected one subfolder per class, got 0.png in ")
    said = train("csoa", data=("cub", folder), code=1)
    assert said == (
        f"Error: --root: expected a folder of this data set, got {folder}, which has no images.txt;"
        " if it is elsewhere, give another folder\n"
    )
    (tmp_path / "lists").mkdir()
    options = ["--metadata", tmp_path / "lists"]
    said = train("csoa", *options, data=("wsolevaluation", folder), code=1)
    assert said.startswith("Error: --metadata: expected a folder of this data set, got ")
    assert "which has no image_ids.txt; if it is elsewhere, give the folder of its lists" in said


def test_folders_that_are_no_data_set(train, tmp_path):
    folder = folder_of(tmp_path / "images")
    (folder / "empty").mkdir()
    said = train("csoa", data=("folder", folder), code=1)
    assert f"{folder / 'empty'}: expected at least one image, got none" in said
    assert not (tmp_path / "run").exists()
    shutil.rmtree(folder)
    folder_of(folder, count=1)
    shutil.rmtree(folder / "b")
    assert "expected at least 2 images to train on, got 1" in train(
        "csoa", data=("folder", folder), code=1
    )


def test_a_label_out_of_range(train, cub, monkeypatch):
    def annotations(base, split):
        found = Annotation("a.jpg", 2, None, torch.zeros(0, 4))
        return [found, found], cub.class_names, [1, 2]

    monkeypatch.setattr("wsolrefine.data.cub._annotations", annotations)
    assert "label: expected 0 to 1, got 2" in train("csoa", code=1)


@given(st.integers(2, 60), st.integers(2, 9), st.integers(0, 3), st.integers(1, 3))
def test_the_batches_of_an_epoch(count, size, epoch, processes):
    shares = [
        list(Batches(count, size, seed=5, epoch=epoch, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert (
        len({len(share) for share in shares}) == 1
    )  # else the processes would wait for each other
    seen = [index.image for share in shares for batch in share for index in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(count))
    assert all(2 <= len(batch) <= size for share in shares for batch in share)
    lost = count - len(seen)
    assert lost < 2 * processes
    if processes == 1:
        assert lost == (count % size == 1)
    again = list(Batches(count, size, seed=5, epoch=epoch, processes=processes))
    assert again == shares[0]


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(index.image for batch in Batches(20, 4, seed=seed, epoch=epoch) for index in batch)
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


# Options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "cam_epoch=3"], "expected a hyper-parameter of Spol, got 'cam_epoch' (close: 'cam_epochs'"),
        (["--set", "zzz=3"], "(known: cam_epochs, "),
        (["--set", "backbone=x"], "expected a hyper-parameter of Spol, got 'backbone'"),
        (["--set", "classifier=x"], "expected a hyper-parameter of Spol, got 'classifier'"),
        (["--set", "cam_epochs"], "--set: expected name=value, got 'cam_epochs'"),
        (["--set", "cam_epochs=1.5"], "--set cam_epochs: expected an integer, got '1.5'"),
        (["--set", "cam_epochs=-1"], "expected an integer >= 0, got '-1'"),
        (["--set", "foreground=nan"], "--set foreground: expected a number, got 'nan'"),
        (["--set", "attention=maybe"], "--set attention: expected true or false, got 'maybe'"),
        (["--set", "fusion=sum"], "--set fusion: expected one of multiplication, addition"),
        (["--set", "stages=3", "--set", "stages=2"], "--set: expected stages once"),
        (["--set", "dropout=2"], "dropout"),
        (["--set", "stages=9"], "stages"),
        (["--set", "cam_epochs=0", "--set", "segmentation_epochs=0"], "at least one epoch, got 0"),
        (["--epochs", "4", "--set", "cam_epochs=2"], "--epochs: expected either it or --set cam_epochs, got both"),
        (["--epochs", "1"], "--epochs: expected at least 2, one for each phase, got 1"),
        (["--lr", "1", "--set", "learning_rate=1"], "--lr: expected either it or --set learning_rate, got both"),
        (["--lr", "0"], "--lr: expected a number in (0, 1e+30], got 0.0"),
        (["--crop", "50"], "--crop: expected at most --size 40, got 50"),
        (["--batch-size", "1"], "--batch-size"),
        (["--metadata", "."], "--metadata: --dataset cub does not use it"),
        (["--split", "val"], "split: expected train, test or all, got 'val'"),
        (["--root", "missing"], "--root: expected a folder, got "),
        (["--device", "abacus"], "--device: expected cpu"),
        (["--backbone", "nothing"], "--backbone nothing: expected"),
        (["--resume"], "--resume: expected a folder with a run, got"),
        (["--precision", "8"], "--precision"),
    ],
)  # fmt: skip
def test_wrong_options_touch_nothing(train, tmp_path, options, message):
    assert message in train("spol", *options, code=2)
    assert not (tmp_path / "run").exists()


def test_more_wrong_options(call, train, tmp_path):
    assert "'spoll' is not one of" in call("train", "spoll", "--out", tmp_path / "run", code=2)
    assert "--dataset: expected one of cub" in train("spol", data=None, code=2)
    (tmp_path / "file").touch()
    assert "expected a folder, got the file" in train("spol", out=tmp_path / "file", code=2)


def test_a_folder_that_holds_another_run(train, tmp_path):
    train("csoa", "--epochs", 1)
    before = (tmp_path / "run/run.json").read_bytes()
    said = train("csoa", "--epochs", 1, code=2)
    assert "(csoa, 1 epochs done)" in said
    said = train("csoa", "--epochs", 4, "--resume", code=2)
    assert "--resume: expected the settings of the run in" in said
    assert "epochs: 1 then, 4 now" in said
    assert "recipe: csoa then, spa now" in train("spa", "--resume", data=None, code=2)
    assert (tmp_path / "run/run.json").read_bytes() == before
    (tmp_path / "run/run.json").write_text("{}")
    assert "not written by wsolrefine train" in train("csoa", code=2)


def test_other_images_are_no_way_to_go_on(train, tmp_path):
    folder = folder_of(tmp_path / "images")
    train("csoa", "--epochs", 1, data=("folder", folder))
    moved = folder.rename(tmp_path / "moved")
    train("csoa", "--resume", "--root", moved, data=None)
    Image.new("RGB", (9, 9)).save(moved / "a/more.png")
    said = train("csoa", "--resume", data=None, code=2)
    assert "expected the images of the run in" in said
    assert "4 of 2 classes, got 5 of 2 classes" in said


@pytest.mark.parametrize("missing", ["lightning", "safetensors"])
def test_a_missing_package(train, call, spol, tmp_path, missing, monkeypatch):
    monkeypatch.setattr(
        "wsolrefine.cli.loading.find_spec", lambda name: None if name == missing else True
    )
    advice = f"the package {missing}: pip install 'wsolrefine[train]'"
    assert advice in train("spol", code=1)
    assert advice in call("refine", "x.png", "--recipe", spol, code=1)
    assert not (tmp_path / "run").exists()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(1, 200))
def test_phases_keep_their_proportion(lengths, epochs):
    phases = {f"{number}_epochs": length for number, length in enumerate(lengths)}
    phases["warmup_epochs"] = min(lengths)
    parts = [name for name, length in phases.items() if length and name != "warmup_epochs"]
    if not parts or epochs < len(parts):
        return
    found = scale_phases(phases, epochs)
    assert sum(found[name] for name in parts) == epochs
    assert all(found[name] >= 1 for name in parts)
    assert all(found[name] == 0 for name in phases if not phases[name])
    scale = epochs / sum(phases[name] for name in parts)
    if all(phases[name] * scale >= 1 for name in parts):
        assert all(abs(found[name] - phases[name] * scale) < 1 for name in parts)


def test_the_learning_rates_keep_their_proportion(train, tmp_path):
    train("spa", "--set", "epochs=1", "--lr", "0.1")
    found = load_recipe(
        tmp_path / "run/spa.safetensors", backbone=BACKBONE
    ).metadata.hyper_parameters
    assert found["learning_rate"] == 0.1
    assert found["backbone_learning_rate"] == pytest.approx(0.01)


# The file -----------------------------------------------------------------------------------------


LAYERS, CHANNELS = ("features.1", "features.2", "features.4"), (8, 12, 16)


def make(name, **options):
    backbone = FeatureList(zoo.seeded(zoo.MobileNetV2), LAYERS)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return RECIPES[name](backbone, list(CHANNELS), 4, width=8, **options).eval()


def about(**changes):
    said = {"backbone": BACKBONE, "layers": LAYERS, "channels": CHANNELS, "num_classes": 4}
    return RecipeMetadata(
        **{
            **said,
            "class_names": ["é", "b", "c", "d"],
            "preprocess": Preprocess((32, 32)),
            **changes,
        }
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_comes_back_as_it_was(name, tmp_path):
    options = {"spa": {"orders": (1,)}, "distill": {"train_head": True}}.get(name, {})
    recipe = make(name, **options)
    path = tmp_path / "recipe.safetensors"
    saved = save_recipe(path, recipe, about())
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.safetensors"]
    found = load_recipe(path, backbone=BACKBONE)
    said = found.metadata
    assert said == saved
    assert said.hyper_parameters == dict(recipe.hparams)
    assert (said.recipe, said.threshold) == (name, recipe.threshold)
    assert found.class_names == ["é", "b", "c", "d"]
    assert found.preprocess == Preprocess((32, 32))
    assert type(found) is type(recipe)
    assert not found.training
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        for labels in (None, torch.tensor([0, 3, 1])):
            got, expected = found(images, labels), recipe(images, labels)
            for name in ("logits", "labels", "scores", "coarse", "maps", "masks", "boxes"):
                assert torch.equal(getattr(got, name), getattr(expected, name))


@pytest.mark.parametrize("name", RECIPES)
def test_a_threshold_that_was_chosen_later_comes_back(name, tmp_path):
    recipe = make(name, **({"train_head": True} if name == "distill" else {}))
    recipe.threshold = 0.123
    path = tmp_path / "recipe.safetensors"
    assert save_recipe(path, recipe, about()).threshold == 0.123
    assert load_recipe(path, backbone=BACKBONE).threshold == 0.123
    recipe.threshold = 1.5
    with pytest.raises(ValueError, match=r"^threshold: expected a number in \[0, 1\), got 1\.5$"):
        save_recipe(path, recipe, about())
    assert load_recipe(path, backbone=BACKBONE).threshold == 0.123


@pytest.mark.parametrize(
    "options", [dict(Ornet.PAPER), {"head": torch.nn.Linear(16, 4)}, {"head_epochs": 0}]
)
def test_ornet_comes_back_with_its_classifiers(options, tmp_path):
    recipe = make("ornet", **options)
    path = tmp_path / "recipe.safetensors"
    save_recipe(path, recipe, about())
    found, images = load_recipe(path, backbone=BACKBONE), torch.rand(3, 3, 32, 32)
    assert dict(found.hparams) == dict(recipe.hparams)
    assert torch.equal(found(images).logits, recipe(images).logits)
    assert torch.equal(found(images).maps, recipe(images).maps)


def test_a_backbone_of_ones_own_runs_only_if_it_is_named(tmp_path):
    path = tmp_path / "recipe.safetensors"
    save_recipe(path, make("csoa"), about(backbone="os:abort"))
    with pytest.raises(
        ValueError, match="backbone: expected 'os:abort', because it is your own code"
    ):
        load_recipe(path)
    with pytest.raises(
        ValueError, match=r"backbone: expected 'os:abort' as in .*, got 'os:getcwd'"
    ):
        load_recipe(path, backbone="os:getcwd")


def test_a_backbone_of_a_library_is_built_without_its_weights(tmp_path, monkeypatch):
    made = []

    class Timm:
        @staticmethod
        def create_model(name, pretrained):
            made.append((name, pretrained))
            return zoo.MobileNetV2()

    path = tmp_path / "recipe.safetensors"
    recipe = make("csoa")
    save_recipe(path, recipe, about(backbone="timm:tiny"))
    monkeypatch.setitem(sys.modules, "timm", Timm)
    found = load_recipe(path)
    assert made == [("tiny", False)]
    assert torch.equal(
        found(torch.ones(1, 3, 32, 32)).logits, recipe(torch.ones(1, 3, 32, 32)).logits
    )


def test_what_is_no_such_file(tmp_path):
    path = tmp_path / "recipe.safetensors"
    with pytest.raises(FileNotFoundError):
        load_recipe(path)
    path.write_bytes(b"not a header")
    with pytest.raises(ValueError, match=r"recipe\.safetensors: expected a safetensors file"):
        load_recipe(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(
        ValueError, match="expected the header 'wsolrefine trained recipe 1', got 'no format'"
    ):
        load_recipe(path)
    save_recipe(path, make("csoa"), about())
    said, weights = header(path), load_file(path)
    save_file(weights, path, {**said, "layers": "["})
    with pytest.raises(ValueError, match="expected a complete header, got JSONDecodeError"):
        load_recipe(path, backbone=BACKBONE)
    save_file(weights, path, {**said, "recipe": '"spoll"'})
    with pytest.raises(ValueError, match="recipe: expected one of spa, ornet"):
        load_recipe(path, backbone=BACKBONE)
    save_file(weights, path, {**said, "num_classes": "5", "class_names": "null"})
    with pytest.raises(ValueError, match="expected weights that fit its header"):
        load_recipe(path, backbone=BACKBONE)
    weights.popitem()
    save_file(weights, path, said)
    with pytest.raises(ValueError, match="expected weights that fit its header"):
        load_recipe(path, backbone=BACKBONE)


def test_what_no_file_can_hold(tmp_path):
    path = tmp_path / "recipe.safetensors"
    with pytest.raises(TypeError, match=r"recipe: expected one of wsolrefine\.recipes, got Linear"):
        save_recipe(path, torch.nn.Linear(1, 1), about())
    with pytest.raises(
        TypeError, match="recipe: expected no classifier of your own, got spol with one"
    ):
        save_recipe(path, make("spol", classifier=torch.nn.Flatten()), about())
    judged = make("ornet", evaluator=torch.nn.Flatten(), evaluate_at="pixels")
    with pytest.raises(TypeError, match="recipe: expected no evaluator of your own"):
        save_recipe(path, judged, about())
    recipe = make("csoa")
    recipe.hparams["gamma"] = object()
    with pytest.raises(TypeError, match="hyper_parameters: expected values that JSON can store"):
        save_recipe(path, recipe, about())
    assert list(tmp_path.iterdir()) == []


# refine --recipe ----------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(40, 60), (70, 50)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def results(out):
    return json.loads((out / "wsolrefine.json").read_text())


def test_refine_writes_the_maps_of_the_recipe(call, spol, photos, tmp_path):
    out = tmp_path / "out"
    options = ["--recipe", spol, "--model", BACKBONE, "--out", out]
    assert "2 refined" in call("refine", photos, *options)
    found = results(out)
    assert found["info"]["settings"]["recipe"] == "spol"
    assert found["info"]["settings"]["threshold"] == 0.2
    recipe = load_recipe(spol, backbone=BACKBONE)
    names = recipe.class_names
    for image in found["images"]:
        with Image.open(photos / image["file_name"]) as opened:
            at_once = recipe(opened)
        logits, maps = at_once.logits, at_once.coarse[:, 0]
        size = (image["height"], image["width"])
        large = torch.nn.functional.interpolate(maps[None], size, mode="bilinear")[0, 0]
        assert torch.equal(at_once.maps[0, 0], large)
        level = np.asarray(Image.open(out / image["files"][0]))
        np.testing.assert_array_equal(level, (large * 255).round().byte())
        mask = np.asarray(Image.open(out / image["files"][1])) > 0
        assert mask[large.numpy() <= 0.2].sum() == 0
        for entry in found["annotations"]:
            if entry["image_id"] == image["id"]:
                assert entry["category_id"] == logits.argmax().item()
                assert entry["score"] == pytest.approx(logits.softmax(1).max().item(), abs=1e-5)
    assert {entry["name"] for entry in found["categories"]} <= set(names)
    assert "0 refined; 2 skipped" in call("refine", photos, *options)
    said = call("refine", photos, *options, "--threshold", 0.5, code=2)
    assert "threshold: 0.2 then, 0.5 now" in said


def test_refine_with_several_classes_and_thresholds(call, spol, photos, tmp_path):
    recipe = ["--recipe", spol, "--model", BACKBONE, "--classes", "top2", "--threshold", 0]
    call("refine", photos, *recipe, "--out", tmp_path / "two")
    found = results(tmp_path / "two")
    assert sorted(entry["category_id"] for entry in found["annotations"]) == [0, 0, 1, 1]


def test_refine_of_edges_gives_no_boxes(call, train, photos, tmp_path):
    train("sem_edges", "--epochs", 2, *SMALL_EDGES)
    recipe = ["--recipe", tmp_path / "run/sem_edges.safetensors", "--model", BACKBONE]
    said = call("refine", photos, *recipe, "--out", tmp_path / "out")
    assert "2 refined." in said  # and not: without a pixel
    found = results(tmp_path / "out")
    assert found["annotations"] == []
    files = {path.parent.name for path in (tmp_path / "out").glob("*/*")}
    assert files == {"maps", "overlays"}
    assert "2 skipped" in call("refine", photos, *recipe, "--out", tmp_path / "out")
    for threshold in (0, 0.5):
        options = ["--threshold", threshold, "--out", tmp_path / "o"]
        said = call("refine", photos, *recipe, *options, code=2)
        assert "--threshold: sem_edges does not use it" in said


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--model", BACKBONE, "--method", "scg"], "--method: --recipe does not use it", 2),
        (["--model", BACKBONE, "--layer", "x"], "--layer: --recipe does not use it", 2),
        ([], f"--model: expected {BACKBONE}, the backbone of", 2),
        (["--model", "timm:x"], f"--model: expected {BACKBONE}, the backbone of", 2),
        (["--model", BACKBONE, "--classes", "2"], "expected an index from 0 to 1, got 2", 2),
        (
            ["--recipe", "missing"],
            "--recipe: expected a file from wsolrefine train, got missing",
            2,
        ),
        (["--recipe", __file__], "expected a safetensors file", 1),
    ],
)
def test_refine_refuses(call, spol, photos, tmp_path, options, message, code):
    out = tmp_path / "out"
    assert message in call("refine", photos, "--recipe", spol, *options, "--out", out, code=code)
    assert not out.exists()


# evaluate --recipe --------------------------------------------------------------------------------


@pytest.fixture
def evaluate(call, cub, tmp_path):
    def run(*arguments, code=0, root=cub.root):
        source = "--dataset", "cub", "--root", root, "--out", tmp_path / "results"
        said = call("evaluate", *source, *arguments, code=code)
        return said if code else json.loads((tmp_path / "results/evaluation.json").read_text())

    return run


def test_evaluate_measures_the_maps_of_the_recipe(evaluate, call, cub, spol, tmp_path):
    recipe = load_recipe(spol, backbone=BACKBONE)
    right = 0
    for truth in cub.splits["test"]:
        with Image.open(cub.root / "images" / truth.image_id) as opened, torch.no_grad():
            pixels = recipe.preprocess(opened)[None]
            logits, _, maps = recipe.class_maps(pixels, torch.tensor([truth.label]))
        right += logits.argmax().item() == truth.label
        path = tmp_path / "maps" / f"{truth.image_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, prepare_score_map(maps[0, 0], (224, 224)).numpy())
    found = evaluate("--recipe", spol, "--model", BACKBONE, "--step", 0.1)
    assert found["protocol"]["maps"].startswith(f"recipe spol on {BACKBONE}, features.")
    assert found["protocol"]["class of the map"] == "true class"
    assert found["results"]["classification"]["top1"] == right / len(cub.splits["test"])
    by_files = evaluate("--maps", tmp_path / "maps", "--step", 0.1)
    for name in ("box_acc", "box_acc_v2", "px_ap", "peak_iou"):
        assert found["results"][name] == by_files["results"][name]


def test_evaluate_measures_edges_on_masks(evaluate, train, tmp_path, cub):
    train("sem_edges", "--epochs", 2, *SMALL_EDGES)
    recipe = ["--recipe", tmp_path / "run/sem_edges.safetensors", "--model", BACKBONE]
    found = evaluate(*recipe, "--limit", 3)
    results = found["results"]["boundary"]
    assert set(results) == {"ods", "ods_threshold", "ois", "average_precision"}
    assert all(0 <= value <= 1 for value in results.values())
    assert found["protocol"]["images"] == "the first 3 of 12 images (--limit)"
    assert (tmp_path / "results/precision_recall.png").is_file()
    assert "--hit: sem_edges does not use it" in evaluate(*recipe, "--hit", "above", code=2)
    shutil.copytree(cub.root, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/segmentations")
    said = evaluate(*recipe, root=tmp_path / "bare", code=1)
    assert "expected a split with masks for sem_edges, got test without masks" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--maps", "."], "expected one of --maps (a folder of score maps), --model and --recipe"),
        (["--method", "scg"], "--method: --recipe does not use it"),
        (["--normalize"], "--normalize: --recipe does not use it"),
        (["-d", "folder"], "--dataset: expected one with boxes or masks, got folder"),
        (
            ["-d", "images"],
            "--dataset: expected one with boxes or masks, got images, which has only",
        ),
        ([], f"--model: expected {BACKBONE}, the backbone of"),
    ],
)
def test_evaluate_refuses(evaluate, spol, tmp_path, options, message):
    assert message in evaluate("--recipe", spol, *options, code=2)
    assert not (tmp_path / "results").exists()
