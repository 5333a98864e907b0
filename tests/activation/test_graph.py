"""Backward passes through batch normalization, which torch gets wrong for one image on a CPU."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.strategies import generator
from tests.support.zoo import CLASSES, seeded
from wsolrefine import Layers, bagcams, class_activation, grad_cam, layer_cam
from wsolrefine.activation.graph import exact_batch_norm, nodes_behind

IMAGES = torch.rand(3, 3, 32, 32, generator=generator(0), dtype=torch.float64)


def channels_first(maps):
    return maps.clone(memory_format=torch.contiguous_format)


def channels_last(maps):
    return maps.clone(memory_format=torch.channels_last)


def tokens(maps):
    """Channels last, with the strides that a batch of one gets from tokens."""
    return maps.flatten(2).mT.contiguous().mT.unflatten(2, maps.shape[2:])


LAYOUTS = [channels_first, channels_last, tokens]


def normalization(kind):
    norm = kind(6).double().eval()
    if isinstance(norm, nn.BatchNorm2d):
        norm.running_var.uniform_(0.5, 3, generator=generator(1))
    return norm


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.InstanceNorm2d])
@pytest.mark.parametrize("of_gradient", LAYOUTS)
@pytest.mark.parametrize("of_input", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 2])
def test_the_layout_does_not_matter(kind, of_gradient, of_input, batch):
    norm = normalization(kind)
    g = generator(2)
    maps, weight = (torch.randn(batch, 6, 3, 5, generator=g, dtype=torch.float64) for _ in "ab")
    found = []
    for layouts in ((of_input, of_gradient), (channels_first, channels_first)):
        given = layouts[0](maps).requires_grad_()
        out = norm(given)
        scores = (out * 1).flatten(1).sum(1)  # a graph to walk through
        with exact_batch_norm(scores):
            found += torch.autograd.grad(out, given, layouts[1](weight))
    assert_close(*found)


def test_the_graph_is_left_as_it_was():
    norm = normalization(nn.BatchNorm2d)
    maps = torch.randn(1, 6, 3, 5, generator=generator(3), dtype=torch.float64).requires_grad_()
    scores, seen = norm(maps).flatten(1).sum(1), []
    (node,) = (node for node in nodes_behind(scores.grad_fn) if "BatchNorm" in node.name())
    for _ in range(2):
        with exact_batch_norm(scores):
            pass
    with node.register_prehook(lambda gradients: seen.append(gradients[0])):
        torch.autograd.grad(scores, maps)
    assert [one.is_contiguous(memory_format=torch.channels_last) for one in seen] == [False]
    assert nodes_behind(None) == set()


class Flat(nn.Module):
    """Tokens behind a batch normalization, as in EfficientFormer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 4, 4), nn.BatchNorm2d(6)
        self.tokens, self.head = nn.LayerNorm(6), nn.Linear(6, CLASSES)
        nn.init.uniform_(self.norm.running_var, 0.5, 3)

    def forward(self, x):
        return self.scores(self.conv(x))

    def scores(self, maps):
        return self.head(torch.tanh(self.tokens(self.norm(maps).flatten(2).mT)).mean(1))


def test_one_image_gives_what_it_gives_in_a_batch():
    model = seeded(Flat).double()
    layers = Layers(("conv",), "conv", None)
    together = class_activation(model, IMAGES, layers=layers, top=2, layer_cams=1)
    assert together.layer_cams[0].flatten(2).any(2).any(1).all()
    for i in range(len(IMAGES)):
        labels = together.labels[i : i + 1]
        alone = class_activation(
            model, IMAGES[i : i + 1], labels=labels, layers=layers, layer_cams=1
        )
        assert_close(alone.cam, together.cam[i : i + 1])
        assert_close(alone.layer_cams[0], together.layer_cams[0][i : i + 1])


@pytest.mark.parametrize("function", [grad_cam, layer_cam, bagcams])
def test_functions_of_a_graph_give_the_same(function):
    model, found = seeded(Flat).double(), []
    for images in (IMAGES[:1], IMAGES):
        maps = model.conv(images)
        found.append(function(maps, model.scores(maps)[:, :2])[0])
    assert_close(*found)
