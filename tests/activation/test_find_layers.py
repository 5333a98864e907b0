import pytest
import torch
from torch import nn

from tests.support import zoo
from tests.support.photographs import classifier
from tests.support.zoo import CLASSES, seeded
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.activation.layout import lay_out
from wsolrefine.functional.tokens import tokens_to_map

FAMILIES = [
    (zoo.ResNet, {}, (("layer2", "layer3"), "layer4", "fc")),
    (zoo.VGG, {}, (("features.10", "features.13"), "avgpool", None)),
    (zoo.MobileNetV2, {}, (("features.2", "features.4"), "features", "classifier.1")),
    (zoo.DenseNet, {}, (("features.conv0", "features.transition1"), "features", "classifier")),
    (zoo.FunctionalTanh, {}, (("stem",), "pool", "fc")),
    (zoo.SqueezeNet, {}, (("features.1",), "classifier.2", None)),
    (zoo.ViT, {}, (("norm",), "blocks.2.norm1", None)),
    (zoo.ViT, {"registers": 4}, (("norm",), "blocks.2.norm1", None)),
    (zoo.ViT, {"class_token": False}, (("norm",), "norm", "head")),
    (zoo.ViT, {"class_token": False, "registers": 4}, (("norm",), "norm", "head")),
    (zoo.ConvStem, {}, (("norm",), "norm", "head")),
    (zoo.Swin, {}, (("layers.1", "layers.2"), "norm", "head.fc")),
    (zoo.SwinV1, {}, (("layers.1", "layers.2"), "norm", "head")),
]
FAMILY = pytest.mark.parametrize(("make", "arguments", "expected"), FAMILIES)


@FAMILY
def test_families(make, arguments, expected):
    assert find_layers(seeded(make, **arguments), torch.rand(1, 3, 224, 224)) == Layers(*expected)


@FAMILY
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_families_in_other_dtypes(make, arguments, expected, dtype):
    model = seeded(make, **arguments).to(dtype)
    assert find_layers(model, torch.rand(1, 3, 224, 224, dtype=dtype)) == Layers(*expected)


@pytest.mark.parametrize("size", [(96, 160), (192, 64)])
def test_images_that_are_not_square(size):
    images = torch.rand(1, 3, *size)
    for make, arguments, expected in FAMILIES:
        if issubclass(make, zoo.ViT):
            arguments = {**arguments, "image_size": size}
        if make is not zoo.VGG:  # its last pooling makes a square of any image
            assert find_layers(seeded(make, **arguments), images) == Layers(*expected)
    assert find_layers(seeded(zoo.VGG), images) == Layers(
        ("features.10", "features.13"), "features", None
    )


@pytest.mark.parametrize("size", [(224, 224), (320, 192)])
def test_efficientnet_lite0(size):
    layers = find_layers(classifier().model, torch.rand(1, 3, *size))
    assert layers == Layers(("_blocks.4", "_blocks.10"), "_swish", "_fc")


def test_the_images_values_do_not_matter():
    model = seeded(zoo.ResNet)
    expected = find_layers(model, torch.rand(1, 3, 64, 64))
    for value in (0.0, torch.nan, torch.inf):
        assert find_layers(model, torch.full((2, 3, 64, 64), value)) == expected
    assert find_layers(model, torch.rand(0, 3, 64, 64)) == expected


def test_one_grid_only():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    assert find_layers(model, torch.rand(1, 3, 32, 32)) == Layers(("1",), "1", "4")


def test_a_last_grid_of_one_pixel_is_passed_over():
    layers = find_layers(seeded(zoo.ResNet), torch.rand(1, 3, 32, 32))
    assert layers == Layers(("layer1", "layer2"), "layer3", None)


def test_padding_layers_do_not_count_as_a_stage():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 8, 8), nn.ZeroPad2d(1), nn.Conv2d(6, 8, 4, 2), nn.ZeroPad2d(1),
        nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    assert find_layers(model, torch.rand(1, 3, 64, 64)) == Layers(("0",), "4", "7")


class Cosine(nn.Linear):
    """A head that is not linear, although its type says so."""

    def forward(self, x):
        return super().forward(x) / x.norm(dim=1, keepdim=True)


class Scaled(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, x):
        return self.head(x) / 0.07


@pytest.mark.parametrize(
    "head",
    [
        Cosine(24, CLASSES),
        Scaled(nn.Linear(24, CLASSES)),
        nn.Sequential(nn.LayerNorm(24), nn.Linear(24, CLASSES)),
        nn.Sequential(nn.Linear(24, CLASSES), nn.Softmax(1)),
    ],
)
def test_other_heads_take_grad_cam(head):
    model = seeded(zoo.ResNet)
    model.fc = head
    assert find_layers(model, torch.rand(1, 3, 64, 64)) == Layers(
        ("layer2", "layer3"), "layer4", None
    )


def test_the_maximum_is_no_mean():
    model = seeded(zoo.ResNet)
    model.avgpool = nn.AdaptiveMaxPool2d(1)
    assert find_layers(model, torch.rand(1, 3, 64, 64)) == Layers(
        ("layer2", "layer3"), "layer4", None
    )


class Output(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.model, self.wrap = seeded(zoo.ResNet), wrap

    def forward(self, x):
        return self.wrap(self.model(x))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, x.mean()),
        lambda x: {"loss": x.mean(), "logits": x},
        lambda x: x[:, :, None, None],
    ],
    ids=["tuple", "mapping", "four axes"],
)
def test_ways_to_return_logits(wrap):
    expected = Layers(("model.layer2", "model.layer3"), "model.layer4", "model.fc")
    assert find_layers(Output(wrap), torch.rand(1, 3, 64, 64)) == expected


@pytest.mark.parametrize(
    ("wrap", "got"),
    [
        (lambda x: x.flatten(), r"\(200,\) torch.float32"),
        (lambda x: x.argmax(1, keepdim=True), r"\(B, 1\) torch.int64"),
        (lambda x: "text", "str"),
    ],
)
def test_other_outputs_are_errors(wrap, got):
    message = rf"model: expected logits of shape \(B, num_classes\), got {got}"
    with pytest.raises(ValueError, match=message):
        find_layers(Output(wrap), torch.rand(1, 3, 64, 64))


def test_no_layer_with_a_grid():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10))
    with pytest.raises(
        ValueError,
        match="model: expected a layer whose output is a map of the image, got none of 2 layers: 2 without a grid",
    ):
        find_layers(model, torch.rand(1, 3, 4, 4))


def test_logits_that_depend_on_no_layer():
    class Blind(zoo.ResNet):
        def forward(self, x):
            return torch.zeros_like(super().forward(x))

    message = "model: expected logits that depend on a layer with a grid, got none"
    with pytest.raises(ValueError, match=message):
        find_layers(Blind(), torch.rand(1, 3, 64, 64))


def test_images_are_checked():
    with pytest.raises(ValueError, match=r"images: expected shape \(B, C, H, W\), got \(3, 8, 8\)"):
        find_layers(seeded(zoo.ResNet), torch.rand(3, 8, 8))


class Reversed(nn.Module):
    """Tokens in reverse order: only ``to_map`` can tell where they are."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(3 * 64, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        patches = nn.functional.unfold(x, 8, stride=8).mT  # (B, N, 192)
        return self.head(self.embed(patches.flip(1)).mean(1))


def test_to_map_lays_out_what_the_shape_does_not_tell():
    model, images = seeded(Reversed), torch.rand(1, 3, 64, 64)
    for to_map in (None, tokens_to_map):  # the tokens are in reverse order
        with pytest.raises(ValueError, match="changed where the image did not, such as 'embed'"):
            find_layers(model, images, to_map=to_map)
    layers = find_layers(model, images, to_map=lambda tokens: tokens_to_map(tokens.flip(1)))
    assert layers == Layers(("embed",), "embed", "head")


@pytest.mark.parametrize(
    ("shape", "image_size", "expected"),
    [
        ((2, 512, 7, 7), (224, 224), (2, 512, 7, 7)),
        ((2, 7, 7, 768), (224, 224), (2, 768, 7, 7)),
        ((2, 7, 14, 768), (224, 448), (2, 768, 7, 14)),
        ((2, 14, 7, 14), (448, 224), (2, 14, 14, 7)),
        ((2, 7, 7, 7), (224, 224), (2, 7, 7, 7)),  # ambiguous: channels first
        ((2, 2048, 8, 13), (299, 480), (2, 2048, 8, 13)),  # valid padding: no whole stride
        ((2, 10, 1, 1), (224, 224), (2, 10, 1, 1)),
        ((2, 196, 768), (224, 224), (2, 768, 14, 14)),
        ((2, 197, 768), (224, 224), (2, 768, 14, 14)),
        ((2, 198, 768), (224, 224), (2, 768, 14, 14)),  # class and distillation token
        ((2, 201, 768), (224, 224), (2, 768, 14, 14)),  # class and four register tokens
        ((2, 261, 768), (224, 224), (2, 768, 16, 16)),  # patches of 14
        ((2, 50, 768), (224, 224), (2, 768, 7, 7)),
        ((2, 577, 768), (384, 384), (2, 768, 24, 24)),
        ((2, 193, 768), (384, 128), (2, 768, 24, 8)),
        ((2, 253, 768), (224, 300), (2, 768, 14, 18)),
        ((2, 1370, 768), (518, 518), (2, 768, 37, 37)),
        ((2, 700, 768), (224, 224), None),
        ((2, 768), (224, 224), None),
        ((2, 0, 7, 7), (224, 224), None),
    ],
)
def test_layouts(shape, image_size, expected):
    maps = lay_out(torch.rand(shape), image_size)
    assert (None if maps is None else tuple(maps.shape)) == expected


def test_layout_of_integers():
    assert lay_out(torch.zeros(1, 3, 7, 7, dtype=torch.int64), (224, 224)) is None
