"""Models that crop the image inside are refused: their maps are those of a part of it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support import zoo
from tests.support.zoo import CLASSES, conv, seeded
from wsolrefine import Localizer, class_activation, find_layers, find_stages
from wsolrefine.activation.layout import reader
from wsolrefine.activation.probe import Probe

IMAGES = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


class Inside(nn.Module):
    """A function of the image before the network."""

    def __init__(self, function, make):
        super().__init__()
        self.function, self.network = function, seeded(make)

    def forward(self, x):
        return self.network(self.function(x))


def resized(x, size):
    return F.interpolate(x, size, mode="bilinear", antialias=True)


CROPS = {
    "a center crop": lambda x: x[..., 16:-16, 16:-16],
    "a small one": lambda x: x[..., 4:-4, 4:-4],
    "of the top and the left": lambda x: x[..., 32:, 32:],
    "a crop, resized": lambda x: resized(x[..., 16:-16, 16:-16], x.shape[-2:]),
    "resized, then a crop": lambda x: resized(x, (256, 256))[..., 16:-16, 16:-16],
    "a crop, padded by reflection": lambda x: F.pad(
        x[..., 16:-16, 16:-16], (8,) * 4, mode="reflect"
    ),
}


MESSAGE = r"^model: expected a layer .*got none of .* independent of the {} edge of the image"


@pytest.mark.parametrize("crop", CROPS)
def test_a_crop_inside_the_model_is_refused(crop):
    model = Inside(CROPS[crop], zoo.ResNet).eval()
    with pytest.raises(ValueError, match=MESSAGE.format("top")):
        find_layers(model, IMAGES)


@pytest.mark.parametrize("make", [zoo.VGG, zoo.MobileNetV2, zoo.DenseNet])
def test_it_is_refused_wherever_layers_are_found(make):
    model = Inside(CROPS["a center crop"], make).eval()
    calls = (find_stages, class_activation, lambda model, images: Localizer(model)(images))
    for call in calls:
        with pytest.raises(ValueError, match=MESSAGE.format("top")):
            call(model, IMAGES)


@pytest.mark.parametrize(("edge", "size"), [("top", (256, 224)), ("left", (224, 256))])
def test_a_crop_of_one_axis_is_refused(edge, size):
    """7 x 7 cells fit the image as well as the crop."""
    model = Inside(
        (lambda x: x[..., 16:-16, :]) if edge == "top" else (lambda x: x[..., 16:-16]),
        lambda: Patches(32),
    )
    with pytest.raises(ValueError, match=MESSAGE.format(edge)):
        find_layers(model.eval(), torch.rand(1, 3, *size))


def test_a_crop_of_some_layers_alone_passes_these_over():
    class Beside(zoo.ResNet):
        def forward(self, x):
            self.beside(x[..., 16:-16, 16:-16])
            return super().forward(x)

    model = seeded(Beside)
    model.beside = zoo.conv(3, 24, stride=32)
    assert find_layers(model, IMAGES) == find_layers(seeded(zoo.ResNet), IMAGES)
    with pytest.raises(ValueError, match=r"got \(B, 24, 6, 6\), independent of the top edge"):
        find_layers(model, IMAGES, layers=["beside"])


class ValidStem(nn.Module):
    """Convolutions without padding, as in Inception: the last cells end before the image does."""

    def __init__(self):
        super().__init__()
        layers = []
        for inside, outside, stride in [(3, 8, 2), (8, 8, 1), (8, 8, 2), (8, 12, 2), (12, 16, 2)]:
            layers += [nn.Conv2d(inside, outside, 3, stride), nn.ReLU()]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Patches(nn.Module):
    """Patches that leave a remainder of the image unread, on the right and at the bottom."""

    def __init__(self, patch):
        super().__init__()
        self.embed = nn.Conv2d(3, 12, patch, patch)
        self.block, self.head = zoo.BasicBlock(12, 12, 1), nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.head(self.block(self.embed(x)).mean((2, 3)))


class Strided(nn.Module):
    """Only one pixel of four by four is read: the first, or those beside the second."""

    def __init__(self, mode):
        super().__init__()
        self.mode, self.convs = mode, nn.Sequential(conv(3, 8, 1), nn.ReLU(), conv(8, 12))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = F.interpolate(x, scale_factor=0.25, mode=self.mode)
        return self.head(self.convs(x).mean((2, 3)))


WHOLE = {
    "ResNet": zoo.ResNet,
    "VGG": zoo.VGG,
    "MobileNetV2": zoo.MobileNetV2,
    "DenseNet": zoo.DenseNet,
    "SqueezeNet": zoo.SqueezeNet,
    "convolutions without padding": ValidStem,
    "a convolution of one pixel in 16": lambda: nn.Sequential(
        nn.Conv2d(3, 12, 1, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES)
    ),
    **{f"patches of {patch}": lambda patch=patch: Patches(patch) for patch in (14, 16, 32)},
    "the nearest of 16 pixels": lambda: Strided("nearest"),
    "the middle of 16 pixels": lambda: Strided("bilinear"),
}


@pytest.mark.parametrize("size", [(224, 224), (230, 230), (250, 250), (231, 249), (96, 160)])
@pytest.mark.parametrize("make", WHOLE)
def test_a_network_that_reads_the_image_from_its_first_pixels_is_not_refused(make, size):
    check_whole(seeded(WHOLE[make]), torch.rand(1, 3, *size))


@pytest.mark.parametrize("make", WHOLE)
def test_it_is_not_refused_in_half_precision(make):
    check_whole(seeded(WHOLE[make]).bfloat16(), torch.rand(1, 3, 230, 230, dtype=torch.bfloat16))


def check_whole(model, images):
    probe = Probe(model, images, reader(images.shape[-2:], None), logits=None, call=None)
    cropped = [name for name, (why, _) in probe.faults.items() if "independent of the" in why]
    assert probe.outputs
    assert not cropped
