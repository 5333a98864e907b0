"""Unlike backbones that return lists of maps, and images whose objects are known."""

import copy
import functools

import pytest
import torch
from torch import nn

from tests.support.photographs import classifier
from tests.support.strategies import generator
from tests.support.zoo import TransformerBlock, conv, seeded
from wsolrefine.activation.layers import find_stages
from wsolrefine.nn import FeatureList

SIDE = 32


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Compute in one thread: on layers this small several wait for each other, on a busy machine long.

    Holds in every module of tests that imports it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Plain(nn.Module):
    """Strided convolutions; every stage on a grid of its own."""

    def __init__(self, channels=(4, 8, 12, 16), *, norm=True):
        super().__init__()
        self.channels = channels
        self.stages = nn.ModuleList(
            nn.Sequential(
                conv(inside, outside, stride=2),
                nn.BatchNorm2d(outside) if norm else nn.Identity(),
                nn.ReLU(),
            )
            for inside, outside in zip((3, *channels[:-1]), channels, strict=True)
        )

    def forward(self, images):
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


class Seeing(nn.Module):
    """Two stages that see red and blue from the start, as a trained network sees its classes."""

    def __init__(self, channels=(6, 8)):
        super().__init__()
        self.channels = channels
        self.stages = nn.ModuleList(
            [
                nn.Sequential(conv(3, channels[0]), nn.ReLU()),
                nn.Sequential(conv(*channels, stride=2), nn.ReLU()),
            ]
        )
        with torch.no_grad():
            for stage in self.stages:
                stage[0].weight *= 0.3
                stage[0].weight[:2] = 0
            for channel in (0, 1):
                self.stages[0][0].weight[channel] -= 1 / 9
                self.stages[0][0].weight[channel, 2 * channel] += 1 / 3
                self.stages[1][0].weight[channel, channel] += 1 / 9

    def forward(self, images):
        first = self.stages[0](images)
        return [first, self.stages[1](first)]


class MapBlock(nn.Module):
    """A transformer block between maps: their pixels are its tokens."""

    def __init__(self, dim):
        super().__init__()
        self.block = TransformerBlock(dim)

    def forward(self, maps):
        return self.block(maps.flatten(2).mT).mT.unflatten(2, maps.shape[2:])


class Tokens(nn.Module):
    """A transformer whose tokens are laid out as maps, all of them on one grid."""

    def __init__(self, patch=4, dim=8, depth=4):
        super().__init__()
        self.channels = (dim,) * depth
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.position = nn.Parameter(torch.randn(dim, SIDE // patch, SIDE // patch) / 2)
        self.blocks = nn.ModuleList(MapBlock(dim) for _ in range(depth))

    def forward(self, images):
        maps = [self.patches(images) + self.position]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps[1:]


@functools.cache
def stages_of_the_classifier():
    return find_stages(classifier().model, torch.rand(1, 3, SIDE, SIDE))


def efficientnet(stages=4):
    """The last stages of a copy of the classifier that needs no network: a test may train it."""
    model = copy.deepcopy(classifier().model)
    return FeatureList(model, stages_of_the_classifier()[-stages:])


BACKBONES = {
    "plain": lambda: seeded(Plain),
    "tokens": lambda: seeded(Tokens),
    "efficientnet": efficientnet,
}


def objects(count=4, side=SIDE, seed=0):
    """Return images of two classes, red squares and blue ones on gray noise, labels and masks."""
    g = generator(seed)
    images = 0.4 + 0.2 * torch.rand(count, 1, side, side, generator=g).expand(-1, 3, -1, -1)
    images, masks = images.clone(), torch.zeros(count, side, side, dtype=torch.bool)
    labels = torch.arange(count) % 2
    for i, label in enumerate(labels.tolist()):
        x, y = torch.randint(side // 8, side // 2, (2,), generator=g).tolist()
        masks[i, y : y + 3 * side // 8, x : x + 3 * side // 8] = True
        color = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]][label])
        noise = 0.1 * torch.rand(1, int(masks[i].sum()), generator=g)
        images[i, :, masks[i]] = color[:, None] + noise
    return images, labels, masks


def overlap(maps, masks, threshold):
    """Return each map's intersection over union with its mask, at the masks' size."""
    size = masks.shape[-2:]
    maps = nn.functional.interpolate(maps[:, None].float(), size, mode="bilinear")[:, 0]
    found = maps > threshold
    return (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))
