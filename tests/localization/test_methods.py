"""The table of methods: names, functions of this library, functions of one's own."""

import functools
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import wsolrefine
from tests.support.small_localizers import (
    SIDE,
    THRESHOLDS,
    build,
    enlarged,
    images,
    largest,
    refined,
    tensors,
)
from wsolrefine import Localizer, class_activation, scg
from wsolrefine.localization.methods import DEFAULT, METHODS, OWN_THRESHOLD, Method, method_of

IMAGES = images()
NAMES = "fast, balanced, accurate, scg, sem, gppl, confseg, conv_crf, cam"
METHOD = pytest.mark.parametrize("name", METHODS)


def same(found, other):
    assert_close(tensors(found), tensors(other), rtol=0, atol=0)


def test_the_table():
    assert {name: method.threshold for name, method in METHODS.items()} == THRESHOLDS
    assert DEFAULT in METHODS
    assert Localizer(build()).method == DEFAULT
    assert ", ".join(METHODS) == NAMES
    assert set(METHODS) - {"cam"} <= {*wsolrefine.__all__, *wsolrefine.localization.__all__}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "accurate"])
def test_methods_are_thin_around_public_functions(name):
    for network in ("resnet", "vit"):
        found = class_activation(build(network), IMAGES, top=3)
        maps = METHODS[name].refine(found.cam, found.features, IMAGES)
        for i in range(len(IMAGES)):
            features = [layer[i : i + 1] for layer in found.features]
            alone = refined(name, found.cam[i : i + 1], features, IMAGES[i : i + 1])
            assert_close(maps[i : i + 1], alone)
        assert 0 <= maps.min() <= maps.max() <= 1


@METHOD
def test_methods_change_nothing_that_they_are_given(name):
    found, batch = class_activation(build(), IMAGES, top=2), IMAGES.clone()
    cam, features = found.cam.clone(), [layer.clone() for layer in found.features]
    METHODS[name].refine(found.cam, found.features, batch)
    assert_close([found.cam, *found.features, batch], [cam, *features, IMAGES], rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "cam"])
def test_a_function_of_the_library_is_its_name(name):
    function = getattr(wsolrefine, name, None) or getattr(wsolrefine.localization, name)
    assert method_of(function) == (name, METHODS[name])
    found = Localizer(build(), refine=function)(IMAGES)
    same(found, Localizer(build(), refine=name)(IMAGES))
    assert (found.method, found.threshold) == (name, THRESHOLDS[name])


def test_the_threshold_of_a_method_may_be_replaced():
    assert Localizer(build(), refine="sem", threshold=0).threshold == 0
    assert Localizer(build(), refine="sem", threshold=None).threshold == THRESHOLDS["sem"]


# Functions of one's own ---------------------------------------------------------------------------


def halved(cam, features, images):
    return cam / 2


class Halved(nn.Module):
    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, cam, features, images):
        return cam * self.share


@dataclass(frozen=True)
class Listed:
    """Has a hash that raises, for its list has none."""

    shares: list

    def __call__(self, cam, features, images):
        return cam * self.shares[0]


@dataclass
class Unhashable:
    share: float = 0.5

    def __call__(self, cam, features, images):
        return cam * self.share

    def method(self, cam, features, images):
        return cam * self.share


OWN = {
    "halved": halved,
    "<lambda>": lambda cam, features, images: cam / 2,
    "partial": functools.partial(halved),
    "Halved": Halved(),
    "Listed": Listed([0.5]),
    "Unhashable": Unhashable(),
    "method": Unhashable().method,
}


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_ones_own(name):
    assert method_of(OWN[name]) == (name, Method(OWN[name], OWN_THRESHOLD))
    found = Localizer(build(), refine=OWN[name])(IMAGES, top=2)
    cam = Localizer(build(), refine="cam")(IMAGES, top=2)
    assert torch.equal(found.coarse, cam.coarse / 2)
    assert (found.method, found.threshold) == (name, 0.5)
    assert not found.maps.requires_grad
    same(found.at(0.25), Localizer(build(), refine=OWN[name], threshold=0.25)(IMAGES, top=2))


def test_what_a_function_is_given():
    given = []

    def look(cam, features, images):
        given.append((cam, features, images))
        assert not torch.is_grad_enabled()
        return cam

    batch = images(3, (SIDE, 96))
    Localizer(build("resnet"), refine=look)(batch, top=2)
    ((cam, features, seen),) = given
    expected = class_activation(build("resnet"), batch, top=2)
    assert_close([cam, *features], [expected.cam, *expected.features], rtol=0, atol=0)
    assert isinstance(features, list)
    assert seen is batch


def test_maps_on_any_grid_in_any_precision():
    model = build()
    for size in ((1, 1), (5, 9), (SIDE, SIDE), (200, 100)):
        maps = torch.rand(2, 1, *size, dtype=torch.float64)
        found = Localizer(model, refine=lambda *_, maps=maps: maps, parts="all")(IMAGES)
        assert torch.equal(found.coarse, maps)
        assert torch.equal(found.maps, enlarged(maps, (SIDE, SIDE)))
        assert torch.equal(found.masks, found.maps > 0.5)


def test_a_function_may_change_its_maps_and_features_in_place():
    def spoil(cam, features, images):
        for layer in features:
            layer.zero_()
        return cam.mul_(0.5)

    for name in ("resnet", "vgg", "vit", "swin"):
        model = build(name)
        localizer, cam = Localizer(model, refine=spoil), Localizer(model, refine="cam")
        usual = cam(IMAGES)
        for _ in range(2):
            found = localizer(IMAGES)
            assert torch.equal(found.coarse, usual.coarse / 2)
            assert torch.equal(found.logits, usual.logits)
        same(cam(IMAGES), usual)


def test_a_map_that_is_not_finite_leaves_the_others_as_they_are():
    def spoil(cam, features, images):
        spoilt = cam.clone()
        spoilt[0, 1] = float("nan")
        return spoilt

    found = Localizer(build(), refine=spoil)(IMAGES, top=2)
    usual = Localizer(build(), refine="cam", threshold=OWN_THRESHOLD)(IMAGES, top=2)
    for i, k in ((0, 0), (1, 0), (1, 1)):
        for key in ("maps", "masks", "boxes"):
            assert torch.equal(getattr(found, key)[i, k], getattr(usual, key)[i, k])
    assert not found.masks[0, 1].any()
    assert not found.boxes[0, 1].any()


def test_values_outside_of_the_range_are_compared_as_they_are():
    found = Localizer(build(), refine=lambda cam, *_: 4 * cam - 1)(IMAGES)
    assert found.maps.max() > 1
    for i in range(2):
        assert torch.equal(found.masks[i, 0], largest(found.maps[i, 0] > 0.5))


def test_a_module_moves_with_the_localizer_and_needs_no_graph(device):
    localizer = Localizer(build(), refine=Halved()).to(device)
    assert "refine.share" in localizer.state_dict()
    assert localizer(IMAGES.to(device)).maps.device.type == device.type


def test_maps_made_elsewhere_come_to_the_device_of_the_images(device):
    localizer = Localizer(build(), refine=lambda cam, *_: cam.cpu() / 2).to(device)
    found = localizer(IMAGES.to(device))
    assert {value.device.type for value in tensors(found).values()} == {device.type}


@pytest.mark.parametrize(
    ("refine", "error", "message"),
    [
        ("magic", ValueError, f"one of {NAMES}, got 'magic'"),
        ("SCG", ValueError, f"one of {NAMES}, got 'SCG'"),
        ("", ValueError, f"one of {NAMES}, got ''"),
        (None, TypeError, "a name or a function, got None"),
        (3, TypeError, "a name or a function, got int"),
        (["scg"], TypeError, "a name or a function, got list"),
    ],
)
def test_wrong_methods(refine, error, message):
    with pytest.raises(error, match=f"^refine: expected {message}$"):
        Localizer(build(), refine=refine)


SHAPE = r"maps of shape \(B, K, h, w\) with B=2 and K=3, got "


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (lambda cam: cam[:, 0], ValueError, SHAPE + r"\(2, 8, 8\)"),
        (lambda cam: cam[:, :1], ValueError, SHAPE + r"\(2, 1, 8, 8\)"),
        (lambda cam: cam[:1], ValueError, SHAPE + r"\(1, 3, 8, 8\)"),
        (lambda cam: cam[None], ValueError, SHAPE + r"\(1, 2, 3, 8, 8\)"),
        (lambda cam: cam[..., :0], ValueError, SHAPE + r"\(2, 3, 8, 0\)"),
        (lambda cam: cam.sum(), ValueError, SHAPE + "Tensor"),
        (lambda cam: cam.numpy(), ValueError, SHAPE + "ndarray"),
        (lambda cam: [cam], ValueError, SHAPE + "list"),
        (lambda cam: None, ValueError, SHAPE + "NoneType"),
        (lambda cam: cam > 0.5, TypeError, "maps of a floating-point dtype, got torch.bool"),
        (lambda cam: cam.long(), TypeError, "maps of a floating-point dtype, got torch.int64"),
    ],
)
def test_functions_that_return_something_else(result, error, message):
    localizer = Localizer(build(), refine=lambda cam, features, images: result(cam))
    with pytest.raises(error, match=f"^refine: expected {message}"):
        localizer(IMAGES, top=3)


def test_errors_of_a_function_are_its_own():
    def broken(cam, features, images):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Localizer(build(), refine=broken)(IMAGES)
    with pytest.raises(TypeError):  # what a function of two arguments says
        Localizer(build(), refine=functools.partial(scg))(IMAGES)
