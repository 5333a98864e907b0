"""Grad-CAM of layers whose output the model changes in place."""

from collections import OrderedDict, namedtuple
from types import MappingProxyType

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from tests.activation.test_outputs import ModelOutput
from tests.support.zoo import seeded
from wsolrefine import Layers, class_activation, find_layers

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Named = namedtuple("Named", ["maps", "weights"])


class Block(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.conv, self.norm, self.wrap = nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), wrap

    def forward(self, x):
        return self.wrap(self.norm(self.conv(x)))


class Changed(nn.Module):
    """A network that changes the first or last value that its block returns."""

    def __init__(self, wrap, read, change):
        super().__init__()
        self.block, self.read, self.change = Block(wrap), read, change
        self.fc = nn.Linear(8 * 64, 4)

    def forward(self, x):
        maps = self.read(self.block(x))
        self.change(maps)
        return self.fc(maps.relu().flatten(1))


WRAPS = {
    "tuple": (lambda y: (y, None), lambda out: out[0]),
    "the same twice": (lambda y: (y, y), lambda out: out[1]),
    "list": (lambda y: ["text", y], lambda out: out[1]),
    "nested": (lambda y: (y, {"again": (y,)}), lambda out: out[1]["again"][0]),
    "named tuple": (lambda y: Named(y, None), lambda out: out.maps),
    "dict": (lambda y: {"loss": None, "maps": y}, lambda out: out["maps"]),
    "ordered": (lambda y: OrderedDict(maps=y), lambda out: out["maps"]),
    "ModelOutput": (lambda y: ModelOutput(maps=y), lambda out: out["maps"]),
    "its attribute": (lambda y: ModelOutput(maps=y), lambda out: out.maps),
    "torch.max": (
        lambda y: y.flatten(2)[..., None].max(3),
        lambda out: out[0].unflatten(2, (8, 8)),
    ),
}
TO_MAP = {"torch.max": lambda tensor: tensor.unflatten(2, (8, 8))}


@pytest.mark.parametrize(
    "change",
    [
        lambda maps: maps.add_(1),
        lambda maps: F.relu(maps, inplace=True),
        lambda maps: maps[:, 0].zero_(),
        lambda maps: None,
    ],
    ids=["add", "relu", "part", "nothing"],
)
@pytest.mark.parametrize("name", WRAPS)
def test_a_tensor_in_a_container_may_be_changed_in_place(name, change):
    wrap, read = WRAPS[name]
    model = seeded(Changed, wrap, read, change)
    plain = seeded(Changed, lambda y: y, lambda out: out, change)
    layers = Layers(("block",), "block", None)
    expected = class_activation(plain, IMAGES, layers=layers)
    out = class_activation(model, IMAGES, layers=layers, to_map=TO_MAP.get(name))
    assert_close(out, expected)
    assert out.cam.any()
    find_layers(model, IMAGES)


def test_a_container_that_cannot_be_copied_is_passed_over():
    wrap, read = lambda y: MappingProxyType({"maps": y}), lambda out: out["maps"]
    model = seeded(Changed, wrap, read, lambda maps: maps.add_(1))
    assert find_layers(model, IMAGES).cam == "block.norm"
    with pytest.raises(ValueError, match=r"^layers: expected a layer for gradients .* got 'block'"):
        class_activation(model, IMAGES, layers=Layers(("block",), "block", None))
    assert class_activation(model, IMAGES).cam.any()
    # Where nothing changes it, it serves as it is.
    model = seeded(Changed, wrap, read, lambda maps: None)
    assert find_layers(model, IMAGES).cam == "block"
    assert class_activation(model, IMAGES).cam.any()


class View(nn.Module):
    """A view of an earlier tensor is changed in place by what the last layer returns."""

    def __init__(self):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 1, 1)
        self.fc = nn.Linear(8 * 64, 4)

    def forward(self, x):
        x = self.stem(x)
        view = x.mul(2).flatten(2)
        view += self.last(x).flatten(2)
        return self.fc(view.tanh().flatten(1))


def test_a_layer_behind_which_a_view_is_changed_in_place_is_passed_over():
    model = seeded(View)
    assert find_layers(model, IMAGES).cam == "stem"
    assert class_activation(model, IMAGES).cam.any()
    with pytest.raises(ValueError, match=r"^layers: expected a layer for gradients .* got 'last'"):
        class_activation(model, IMAGES, layers=Layers(("last",), "last", None))


class After(nn.Module):
    """What follows on the layer of the features runs without gradients only; the head averages."""

    def __init__(self, change):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 2, 2)
        self.change, self.fc = change, nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.last(self.change(self.first(x))).mean((2, 3)))


@pytest.mark.parametrize(
    "change",
    [
        lambda maps: maps.sigmoid().mul_(maps),  # refused in the backward pass only
        lambda maps: torch.from_numpy(maps.numpy()),
        lambda maps: maps * torch.heaviside(maps, maps),
    ],
    ids=["backward", "numpy", "derivative"],
)
def test_a_layer_cam_that_autograd_refuses(change):
    model = seeded(After, change)
    layers = find_layers(model, IMAGES)
    assert layers == Layers(("first",), "last", "fc")
    assert class_activation(model, IMAGES, layers=layers).cam.any()
    with pytest.raises(ValueError, match=r"^layers: expected a layer for gradients .* got 'first'"):
        class_activation(model, IMAGES, layers=layers, layer_cams=1)
