"""A decoder beside the classifier: layers that the logits do not use are neither features nor CAM."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support import zoo
from tests.support.zoo import CLASSES, seeded
from wsolrefine import class_activation, find_layers, find_stages
from wsolrefine.activation.layers import Layers

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def convs(inside, outside, stride=1):
    return nn.Sequential(zoo.conv(inside, outside, stride=stride), nn.ReLU(inplace=True))


def perceptron(channels):
    return nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), nn.Linear(16, CLASSES))


class UNet(nn.Module):
    """An encoder with a classifier, and a decoder back to the image with the encoder's channels."""

    def __init__(self, head=perceptron, *, decodes=True, deep=1, skips=False):
        super().__init__()
        self.e1, self.e2 = convs(3, 8), convs(8, 16, 2)
        self.e3, self.e4 = convs(16, 32, 2), convs(32, 64, 2)
        self.d3, self.d2 = convs(64, 32), convs(32, 16)
        self.d1 = nn.Sequential(convs(16, 8), *(convs(8, 8) for _ in range(deep - 1)))
        self.head, self.decodes, self.skips = head(64), decodes, skips

    def forward(self, x):
        maps = [self.e1(x)]
        for stage in (self.e2, self.e3, self.e4):
            maps.append(stage(maps[-1]))
        logits = self.head(maps[-1].mean((2, 3)))
        if not self.decodes:
            return {"logits": logits}
        y = maps[-1]
        for stage, skip in zip((self.d3, self.d2, self.d1), maps[2::-1], strict=True):
            y = stage(F.interpolate(y, scale_factor=2)) + (skip if self.skips else 0)
        return self.both(logits, y)

    def both(self, logits, mask):
        return {"logits": logits, "mask": mask}


class FirstOfTwo(UNet):
    def both(self, logits, mask):
        return logits, mask


class UnderNoGrad(UNet):
    """A decoder that was frozen by ``no_grad``, and the classifier with it."""

    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


def check_encoder_only(model, cam="e4", head=None):
    assert find_layers(model, IMAGES) == Layers(("e2", "e3"), cam, head)
    assert find_stages(model, IMAGES) == ("e1", "e2", "e3", "e4")


@pytest.mark.parametrize("make", [UNet, FirstOfTwo])
@pytest.mark.parametrize(
    "options", [{}, {"skips": True}, {"deep": 60}], ids=["plain", "skips", "deep"]
)
@pytest.mark.parametrize(("head", "name"), [(perceptron, None), (nn.Linear, "head")])
def test_layers_beside_a_decoder_are_those_of_the_encoder(make, options, head, name):
    if head is nn.Linear:

        def head(channels):
            return nn.Linear(channels, CLASSES)

    check_encoder_only(seeded(make, head, decodes=False), head=name)
    check_encoder_only(seeded(make, head, **options), head=name)


def test_the_map_beside_a_decoder_is_that_of_the_encoder():
    model, alone = seeded(UNet), seeded(UNet, decodes=False)
    torch.testing.assert_close(class_activation(model, IMAGES), class_activation(alone, IMAGES))


class AutoEncoder(nn.Module):
    """The last grid of the decoder has fewer channels than any layer of the encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(convs(3, 8, 2), convs(8, 16, 2), convs(16, 32, 2))
        up = nn.Upsample(scale_factor=2)
        self.decoder = nn.Sequential(up, convs(32, 16), up, convs(16, 8), up, zoo.conv(8, 3))
        self.head = perceptron(32)

    def forward(self, x):
        z = self.encoder(x)
        reconstruction = self.decoder(z)
        return {"logits": self.head(z.mean((2, 3))), "reconstruction": reconstruction}


def test_a_decoder_without_a_layer_like_the_encoders_is_no_reason_to_refuse_the_model():
    expected = Layers(("encoder.0", "encoder.1"), "encoder", None)
    assert find_layers(seeded(AutoEncoder), IMAGES) == expected


def test_a_segmentation_branch_that_runs_first_is_left_out():
    class Branch(UNet):
        def forward(self, x):
            mask = self.d1(self.d2(self.d3(self.e4(self.e3(self.e2(self.e1(x)))))))
            return {"mask": mask, "logits": UNet.forward(self, x)["logits"]}

    check_encoder_only(seeded(Branch))


def test_frozen_weights_do_not_matter():
    check_encoder_only(seeded(UNet).requires_grad_(False))


def test_layers_whose_output_is_a_view_that_is_changed_in_place_are_used():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = zoo.PatchEmbed(8, 12), nn.Linear(12, CLASSES)
            self.decoder = zoo.conv(12, 12)

        def forward(self, x):
            tokens = self.embed(x)  # a transposed view
            tokens.relu_()
            return self.head(tokens.mean(1)), self.decoder(tokens.mT.unflatten(2, (8, 8)))

    assert find_layers(seeded(Tokens), IMAGES).cam == "embed"


def test_without_autograd_all_layers_count_as_before():
    """What is not recorded may lead to the logits: a linear head still has its map."""
    model = seeded(UnderNoGrad, lambda channels: nn.Linear(channels, CLASSES))
    layers = find_layers(model, IMAGES)
    assert (layers.cam, layers.head) == ("e4", "head")
    with torch.inference_mode():
        model = seeded(UNet, lambda channels: nn.Linear(channels, CLASSES))
    layers = find_layers(model, IMAGES)
    assert (layers.cam, layers.head) == ("e4", "head")
