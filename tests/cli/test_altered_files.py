"""Results files and recipe files that were altered: one line, and nothing outside of their folder."""

import copy
import json
import math
import os
import shutil
from itertools import islice

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.cli.test_train import BACKBONE, about, header, make
from tests.cli.test_wrong_values import MODEL
from tests.support.command import invoke, run_command
from wsolrefine.cli.refine.coco import Results
from wsolrefine.cli.refine.outputs import ENDINGS
from wsolrefine.cli.refine.stored import BadResults
from wsolrefine.recipes import load_recipe, save_recipe

OTHER = [
    *(None, True, -1, 5, 2**70, 0.5, math.nan, math.inf, 1e308, "", "x", "\0", "\ud800", "../../x"),
    *([], {}, [5], ["x"], {"x": 5}, json.loads("[" * 50 + "]" * 50)),
]


def nodes(value, path=()):
    """Yield the place of every value inside a value of JSON."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(part, (*path, key))


def altered(content):
    """Yield copies in which one value is another, or is left out."""
    for path in nodes(content):
        for other in OTHER:
            if not path:
                yield path, other
                continue
            changed = copy.deepcopy(content)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = other
            yield path, changed
        if path and isinstance(path[-1], str):
            changed = copy.deepcopy(content)
            place = changed
            for key in path[:-1]:
                place = place[key]
            del place[path[-1]]
            yield path, changed


# Results files ------------------------------------------------------------------------------------


OPTIONS = ["--model", MODEL, "--threshold", "0"]


def write_photos(folder):
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.linear_gradient("L").resize((20, 20)).save(folder / name)
    return folder


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """What the first run on the photographs writes; it names them by where they lie from there."""
    folder = tmp_path_factory.mktemp("first")
    photos = write_photos(folder / "photos")
    run_command("refine", photos, *OPTIONS, "--out", folder / "out")
    return folder / "out"


@pytest.fixture
def refine(photos, tmp_path, first_run):
    def call(*arguments, code=0):
        out = tmp_path / "out"
        if not arguments and not out.exists():
            return shutil.copytree(first_run, out)
        return run_command("refine", photos, *OPTIONS, "--out", out, *arguments, code=code)

    return call


def test_any_altered_value_of_a_results_file_is_named_or_harmless(refine, tmp_path):
    refine()
    path = tmp_path / "out/wsolrefine.json"
    original = json.loads(path.read_text())
    assert original["annotations"]
    refused = accepted = 0
    for place, changed in altered(original):
        path.write_text(json.dumps(changed))
        try:
            found = Results.read(tmp_path / "out")
        except BadResults as error:
            assert str(error).startswith(f"{path}: not a results file of wsolrefine (")  # noqa: PT017
            refused += 1
            continue
        accepted += 1
        assert all(file.split("/")[0] in ("maps", "masks", "overlays") for file in found.files())
        found.sources()
        assert all(isinstance(found.is_done(name, path), bool) for name in found.images), place
        found.write()
        assert Results.read(tmp_path / "out") is not None
    assert refused > 500
    assert accepted < refused


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        *(("annotations", "bbox", bad) for bad in ("x", [1, 2, 3], [0, 0, 99, 9], [0, 0, 0, 9])),
        *(("annotations", "segmentation", bad) for bad in (5, None, {}, {"size": [20, 20]})),
        ("annotations", "segmentation", {"size": [5, 5], "counts": "0"}),
        ("annotations", "segmentation", {"size": [20, 20], "counts": "\x00"}),
        *(("annotations", "score", bad) for bad in ({}, "1", 1.5, True, None)),
        *(("annotations", "area", bad) for bad in (-5, 0, 401)),
        *(("annotations", "category_id", bad) for bad in (99, -1)),
        ("annotations", "iscrowd", 1),
        *(("images", field, bad) for field in ("width", "height") for bad in (5, 0, -5)),
        ("images", "bytes", -1),
        ("categories", "id", 1),
    ],
)
def test_values_that_this_command_does_not_write_are_refused(refine, tmp_path, place, field, value):
    refine()
    path = tmp_path / "out/wsolrefine.json"
    content = json.loads(path.read_text())
    content[place][0][field] = value
    path.write_text(json.dumps(content))
    printed = refine(code=2)
    assert "not a results file of wsolrefine (" in printed
    assert path.read_text() == json.dumps(content)


def test_a_damaged_results_file_loses_nothing_and_its_message_can_be_followed(refine, tmp_path):
    refine()
    out = tmp_path / "out"
    (out / "wsolrefine.json").write_text("{")
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    printed = " ".join(refine(code=2).split())
    assert "or move it elsewhere, together with the folders maps, masks, overlays in" in printed
    assert "which this command has not written" in refine("--overwrite", code=2)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    (tmp_path / "elsewhere").mkdir()
    for name in ("wsolrefine.json", "maps", "masks", "overlays"):
        (out / name).rename(tmp_path / "elsewhere" / name)
    assert "2 refined" in refine()
    assert len(Results.read(out).images) == 2


@pytest.mark.parametrize(
    "text",
    ["[" * 10**5, '{"a":' * 10**5, "", "\0", "[]", "null", "5" * 5000, "\ufeff{}", '{"info": NaN}'],
)
def test_a_file_that_is_no_results_file(refine, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/wsolrefine.json").write_text(text)
    assert "not a results file of wsolrefine" in refine(code=2)
    assert (tmp_path / "out/wsolrefine.json").read_text() == text
    assert "2 refined" in refine("--overwrite")
    assert (tmp_path / "out/wsolrefine.json.1").read_text() == text  # it may be the user's own


def test_a_results_file_that_is_a_pipe_a_folder_or_a_loop(refine, tmp_path):
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/wsolrefine.json"
    os.mkfifo(path)
    assert "not a results file of wsolrefine (a named pipe)" in refine(code=2)
    path.unlink()
    path.mkdir()
    assert "not a results file of wsolrefine (a folder)" in refine(code=2)
    path.rmdir()
    path.symlink_to(path)
    assert "wsolrefine.json: " in refine(code=2)


@pytest.mark.parametrize(
    "name",
    [
        *("../../victim/x", "/victim/x", "a/../../victim/x", "./x", "x/", "x//y", "", ".", ".."),
        *("C:/victim", "C:victim", "\\victim", "a\0b", "a\nb", "../victim"),
    ],
)
def test_no_name_of_a_results_file_leads_out_of_its_folder(refine, tmp_path, name):
    refine()
    path, victim = tmp_path / "out/wsolrefine.json", tmp_path / "victim"
    victim.mkdir()
    original = json.loads(path.read_text())
    shutil.rmtree(tmp_path / "out/maps")
    content = copy.deepcopy(original)
    content["images"][0]["file_name"] = name
    content["images"][0]["files"] = [f"maps/{name}.png"]
    path.write_text(json.dumps(content))
    assert "not a results file of wsolrefine (images[0]: " in refine(code=2)
    for file in (f"maps/{name}", f"{name}.png", f"maps/{name}.png"):
        content = copy.deepcopy(original)
        content["images"][0]["files"] = [file]
        path.write_text(json.dumps(content))
        assert "not a results file of wsolrefine (images[0]: " in refine(code=2)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("place", ["maps", "masks", "overlays"])
def test_no_link_in_the_folder_leads_out_of_it(refine, tmp_path, place):
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").mkdir()
    mine = f"a{ENDINGS[place]}"
    (tmp_path / "victim" / mine).write_text("mine")
    (tmp_path / "out" / place).symlink_to(tmp_path / "victim")
    assert f"{place}/{mine} leads out of" in refine(code=1)
    assert [path.name for path in (tmp_path / "victim").iterdir()] == [mine]
    assert (tmp_path / "victim" / mine).read_text() == "mine"


def test_a_link_to_the_folder_of_results_is_followed(refine, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    assert "2 refined" in refine()
    assert (tmp_path / "elsewhere/wsolrefine.json").is_file()


def test_results_of_another_format_are_not_continued(refine, tmp_path):
    refine()
    path = tmp_path / "out/wsolrefine.json"
    content = json.loads(path.read_text())
    content["info"]["format"] = 2
    path.write_text(json.dumps(content))
    assert "info: expected format 1, got 2" in refine(code=2)


# Recipe files -------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path):
    """A recipe file, and a function that writes it with another header or other weights."""
    path = tmp_path / "recipe.safetensors"
    save_recipe(path, make("spol"), about())
    said, weights = header(path), load_file(path)

    def write(changes=(), **tensors):
        save_file({**weights, **tensors}, path, {**said, **dict(changes)})
        return path

    return path, said, weights, write


def test_any_altered_value_of_a_header_is_named(recipe):
    path, said, _, write = recipe
    content = {key: json.loads(text) for key, text in said.items() if key != "format"}
    loaded = 0
    every = 1 if os.getenv("HYPOTHESIS_PROFILE") == "search" else 5
    for place, changed in islice(altered(content), len(OTHER), None, every):
        value = changed.get(place[0])
        write({place[0]: json.dumps(value)})
        try:
            load_recipe(path, backbone=BACKBONE)
            loaded += 1
        except ValueError as error:
            assert str(path) in str(error), place  # noqa: PT017
    assert loaded < 300 / every  # numbers like the ones before


@pytest.mark.parametrize(
    "backbone",
    [
        *(
            "timm:hf-hub:x/y",
            "timm:hf_hub:x/y",
            "timm:local-dir:/etc",
            "timm:https://x/y",
            "timm:../x",
        ),
        *(
            "timm:",
            "torchvision:",
            "torchvision:a/b",
            "timm:a:b",
            "efficientnet-lite0:x",
            "os:abort",
        ),
        *("timm:a b", "timm:\n", ":", "x", " timm:x"),
    ],
)
def test_a_header_chooses_no_code_no_download_and_no_folder(recipe, backbone, monkeypatch):
    path, _, _, write = recipe
    write({"backbone": json.dumps(backbone)})
    for name in ("load_classifier", "architecture"):
        monkeypatch.setattr(
            f"wsolrefine.recipes.checkpoint.{name}", lambda *_: pytest.fail("it was built")
        )
    with pytest.raises(ValueError, match=r"a file must not choose what|your own code"):
        load_recipe(path)
    result = invoke("refine", "x.png", "--recipe", path)
    assert result.exit_code == 2
    assert "--model: expected" in result.output


def test_a_header_without_preprocessing_downloads_no_weights(recipe, monkeypatch):
    path, _, _, write = recipe
    write({"backbone": '"torchvision:squeezenet1_0"', "preprocess": "null"})
    asked = []

    class Models:
        @staticmethod
        def list_models(module):
            return ["squeezenet1_0"]

        @staticmethod
        def get_model(name, weights):
            asked.append((name, weights))
            raise ValueError("enough")

        class Weights:
            class DEFAULT:
                meta = {"categories": ["a"]}  # noqa: RUF012

                @staticmethod
                def transforms():
                    kind = type("Preset", (), {})()
                    kind.crop_size, kind.mean, kind.std = [32], [0.5] * 3, [0.5] * 3
                    kind.interpolation = type("Mode", (), {"value": "bilinear"})
                    return kind

        @classmethod
        def get_model_weights(cls, name):
            return cls.Weights

    monkeypatch.setattr("wsolrefine.models.from_torchvision.require", lambda *_: Models)
    with pytest.raises(ValueError, match="enough"):
        load_recipe(path)
    assert asked == [("squeezenet1_0", None)]
    write({"backbone": '"torchvision:fcn_resnet50"'})  # its backbone would be downloaded
    with pytest.raises(ValueError, match="expected a classifier of torchvision"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.int64, "expected a floating-point dtype, got torch.int64"),
        (torch.complex64, "expected a floating-point dtype, got torch.complex64"),
        (torch.bool, "expected a floating-point dtype, got torch.bool"),
    ],
)
def test_weights_of_another_kind_are_named(recipe, dtype, message):
    path, _, weights, write = recipe
    key = next(key for key in weights if key.startswith("segmentation") and "weight" in key)
    write(**{key: weights[key].to(dtype)})
    with pytest.raises(ValueError, match=f"{key}: {message}"):
        load_recipe(path, backbone=BACKBONE)
    write(**{key: weights[key].half()})
    assert load_recipe(path, backbone=BACKBONE).state_dict()[key].dtype == torch.float32
    counter = next(key for key in weights if not weights[key].is_floating_point())
    write(**{counter: weights[counter].float()})
    with pytest.raises(ValueError, match=f"{counter}: expected torch.int64, got torch.float32"):
        load_recipe(path, backbone=BACKBONE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_named(recipe, photos, tmp_path, value):
    path, _, weights, write = recipe
    key = next(key for key in weights if key.startswith("segmentation") and "weight" in key)
    spoilt = weights[key].clone()
    spoilt.view(-1)[0] = value
    write(**{key: spoilt})
    arguments = ["--recipe", path, "--model", BACKBONE, "--out", tmp_path / "out"]
    result = invoke("refine", photos, *arguments)
    assert result.exit_code == 1
    assert f"{key}: expected finite weights, got" in result.output
    assert "refined" not in result.output
    made = make("spol")
    with torch.no_grad():
        made.get_parameter(key).view(-1)[0] = value
    with pytest.raises(ValueError, match="recipe: expected finite weights"):
        save_recipe(tmp_path / "new.safetensors", made, about())


def test_maps_that_are_not_finite_are_named(recipe, photos, tmp_path):
    path, _, weights, write = recipe
    changes = {
        key: torch.full_like(value, 3e38)
        for key, value in weights.items()
        if key.startswith("segmentation") and value.is_floating_point() and value.ndim == 4
    }
    write(**changes)
    arguments = ["--recipe", path, "--model", BACKBONE, "--out", tmp_path / "out"]
    result = invoke("refine", photos, *arguments)
    assert result.exit_code == 1, result.output
    assert "a.jpg: map: expected finite numbers, got NaN or infinity in the output of" in (
        result.output
    )
    assert "0 refined" in result.output
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]])
def test_class_names_of_another_number_than_the_classes_are_refused(
    recipe, photos, tmp_path, names
):
    path, _, _, write = recipe
    write({"class_names": json.dumps(names)})
    message = f"class_names: expected 4 as num_classes, got {len(names)}"
    with pytest.raises(ValueError, match=message):
        load_recipe(path, backbone=BACKBONE)
    arguments = ["--recipe", path, "--model", BACKBONE, "--out", tmp_path / "out"]
    result = invoke("refine", photos, *arguments)
    assert isinstance(result.exception, SystemExit)
    assert message in result.output


def test_a_header_asks_for_no_amount_of_memory(recipe):
    path, said, _, write = recipe
    options = json.loads(said["hyper_parameters"])
    write({"hyper_parameters": json.dumps({**options, "width": 60_000})})
    with pytest.raises(ValueError, match="expected weights that fit its header"):
        load_recipe(path, backbone=BACKBONE)
