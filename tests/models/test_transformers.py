"""Models of transformers, small and made here: classifiers, CLIP, SigLIP, and their processors."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from tests.support.command import run_command
from tests.support.small_transformers import SMALL, clip, processor
from wsolrefine import Localizer, class_activation, find_layers, load_classifier
from wsolrefine.models import Preprocess, is_own_code, must_be_named
from wsolrefine.models.processor import preprocess_of_config

TEXTS = ["a cup", "a saucer of a cup", "a photo"]


# The configuration of a processor -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"size": 32}, Preprocess((32, 32), (0, 0, 0), (1, 1, 1))),
        ({"size": {"height": 3, "width": 4}, "resample": 3, "image_mean": [0.1, 0.2, 0.3],
          "image_std": [0.4, 0.5, 0.6]},
         Preprocess((3, 4), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")),
        ({"size": {"shortest_edge": 9}, "resample": 1, "do_normalize": False,
          "image_mean": [9, 9, 9]}, Preprocess((9, 9), (0, 0, 0), (1, 1, 1), "lanczos")),
        ({"size": {"shortest_edge": 9}, "crop_size": {"height": 7, "width": 6}},
         Preprocess((7, 6), (0, 0, 0), (1, 1, 1))),
        ({"size": {"shortest_edge": 9}, "crop_size": 7, "do_center_crop": False},
         Preprocess((9, 9), (0, 0, 0), (1, 1, 1))),
        ({"size": 4, "rescale_factor": 1 / 127.5, "rescale_offset": True},
         Preprocess((4, 4), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
    ],
)  # fmt: skip
def test_the_preprocessing_of_a_processor(config, expected):
    found = preprocess_of_config(config, "x")
    assert (found.size, found.interpolation) == (expected.size, expected.interpolation)
    assert_close(
        found(Image.new("RGB", (8, 8), "teal")), expected(Image.new("RGB", (8, 8), "teal"))
    )


@pytest.mark.parametrize("config", [{}, {"size": {"longest_edge": 9}}])
def test_a_processor_without_a_size(config):
    with pytest.raises(ValueError, match="spec: expected a processor with a size of images, got "):
        preprocess_of_config(config, "x")
    with pytest.raises(ValueError, match="spec: expected a processor of RGB images, got that of"):
        preprocess_of_config(config | {"do_flip_channel_order": True}, "x")


def test_a_file_does_not_choose_what_is_read():
    for spec in ("hf:model", "hf:owner/model", "clip:model"):
        assert not is_own_code(spec)
        assert must_be_named(spec) == "a file must not choose what is downloaded or read"


def test_clip_needs_texts_and_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="class_names: expected the texts that clip:x compares"):
        load_classifier("clip:x")
    with pytest.raises(ValueError, match="checkpoint: expected none for 'clip:x', whose head is"):
        load_classifier("clip:x", checkpoint=tmp_path, class_names=["a"])


# Models of transformers ---------------------------------------------------------------------------


@pytest.fixture
def transformers(monkeypatch, tmp_path):
    library = pytest.importorskip(
        "transformers", reason="pip install 'wsolrefine[hf]'; not in the extra test"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "300")
    library.utils.logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield library


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_logits_are_those_of_the_model_for_the_texts(transformers, kind):
    model = clip(transformers, kind)
    loaded = load_classifier("clip:model", class_names=TEXTS)
    assert loaded.class_names == TEXTS
    assert loaded.preprocess == Preprocess((48, 48), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic")
    images = torch.rand(2, 3, 48, 48)
    padding = {"padding": "max_length", "max_length": 12} if kind == "siglip" else {"padding": True}
    made = transformers.AutoTokenizer.from_pretrained("model")(
        TEXTS, return_tensors="pt", **padding
    )
    inputs = {"input_ids": made["input_ids"]}
    if kind == "clip":
        inputs["attention_mask"] = made["attention_mask"]
    with torch.no_grad():
        expected = model(**inputs, pixel_values=images).logits_per_image
        assert_close(loaded.model(images), expected, rtol=1e-4, atol=1e-4)
        assert loaded.model(torch.rand(1, 3, 64, 48)).shape == (1, 3)  # other sizes
    assert (expected[:, 0] - expected[:, 1]).abs().min() > 1e-4  # the texts differ


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_class_activation_of_texts(transformers, kind):
    clip(transformers, kind)
    loaded = load_classifier("clip:model", class_names=TEXTS)
    images = torch.rand(2, 3, 48, 48)
    found = class_activation(loaded.model, images, labels=torch.tensor([[0, 1], [1, 2]]))
    assert found.cam.shape == (2, 2, 6, 6)
    assert found.cam.std((2, 3)).min() > 0
    assert find_layers(loaded.model, images).cam.startswith("vision_model")
    box = Localizer(loaded, refine="scg")(Image.effect_noise((60, 48), 80).convert("RGB"))
    assert box.boxes.shape == (1, 1, 4)


def test_texts_of_the_command_are_the_classes(transformers):
    clip(transformers, "clip")
    Image.effect_noise((60, 48), 80).convert("RGB").save("a.png")
    refine = ("refine", "a.png", "--out", "out", "--model", "clip:model", "--method", "scg")
    run_command(*refine, "--classes", "a cup, a saucer of a cup")
    found = json.loads(Path("out/wsolrefine.json").read_text())
    assert [c["name"] for c in found["categories"]] == ["a cup", "a saucer of a cup"]
    assert found["info"]["settings"]["class_names"] == ["a cup", "a saucer of a cup"]
    assert len(found["annotations"]) == 2
    said = run_command(*refine, code=2)
    assert said.startswith("Error: --classes: expected the texts that clip:model compares images")
    Path("texts.txt").write_text("\n".join(TEXTS))
    printed = run_command(*refine[:3], "top", *refine[4:], "--class-names", "texts.txt")
    assert "1 refined" in printed
    said = run_command("layers", "clip:model", code=2)
    assert said.startswith("Error: --class-names: expected the texts that clip:model compares")
    assert "Grad-CAM" in run_command("layers", "clip:model", "--class-names", "texts.txt")


@pytest.mark.parametrize("named", [True, False])
def test_an_image_classifier(transformers, named):
    names = {0: "wren", 1: "robin", 2: "crane"}
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 1, 1], layer_type="basic",
        **({"id2label": names, "label2id": {v: k for k, v in names.items()}} if named else {"num_labels": 3}),
    )  # fmt: skip
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained("model")
    processor(image_processor_type="ConvNextImageProcessor", crop_size=None, do_center_crop=False)
    loaded = load_classifier("hf:model")
    assert loaded.class_names == ([*names.values()] if named else None)
    assert loaded.preprocess.size == (48, 48)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert_close(loaded.model(images).logits, model(images).logits)
    assert Localizer(loaded)(images).boxes.shape == (2, 1, 4)
    torch.save({f"model.{k}": v + 1 for k, v in model.state_dict().items()}, "best.pt")
    tuned = load_classifier("hf:model", checkpoint="best.pt", class_names=["a", "b", "c"])
    assert_close(
        tuned.model.state_dict()["classifier.1.bias"], model.classifier[1].bias.detach() + 1
    )


def test_what_is_no_model_of_the_kind(transformers):
    config = transformers.ViTConfig(**SMALL, image_size=48, patch_size=8)
    transformers.ViTModel(config).save_pretrained("model")
    with pytest.raises(ValueError, match=r"spec: expected a model of images and texts, .*ViTModel"):
        load_classifier("clip:model", class_names=["a"])
    said = run_command("layers", "hf:no/such/folder", code=2)
    assert said.startswith("Error: MODEL hf:no/such/folder: ")


@pytest.mark.parametrize("spec", ["hf:x", "clip:x"])
def test_transformers_that_are_missing(spec, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    message = rf"{spec} needs the package transformers .*pip install 'wsolrefine\[hf\]'"
    with pytest.raises(ImportError, match=message):
        load_classifier(spec, class_names=["a"])
