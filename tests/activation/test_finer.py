"""LayerCAMs and BagCAMs beside the CAM: what class_activation adds when they are asked for."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support.small_localizers import FAMILIES, build, images, layers_of
from tests.support.zoo import CLASSES
from wsolrefine import bagcams, capture, class_activation, find_layers, layer_cam
from wsolrefine.activation.layout import lay_out

FAMILY = pytest.mark.parametrize("name", FAMILIES)
IMAGES = images(2, dtype=torch.float64)
KINDS = {"layer_cams": layer_cam, "bagcams": bagcams}


def asked(model, batch=IMAGES, layers=None, **options):
    """Return what there is with the LayerCAMs and BagCAMs of all layers."""
    layers = find_layers(model, batch) if layers is None else layers
    counts = dict.fromkeys(KINDS, len(layers.features))
    return class_activation(model, batch, layers=layers, **counts, **options)


@FAMILY
def test_they_are_those_of_the_captured_layers(name):
    model, layers = build(name).double(), layers_of(name, torch.float64)
    found = asked(model, top=3, layers=layers)
    model.eval()
    with capture(model, *layers.features) as outputs:
        logits = model(IMAGES.clone().requires_grad_())
    to_map = partial(lay_out, image_size=(64, 64))
    scores = logits.gather(1, found.labels)
    for kind, function in KINDS.items():
        for layer, maps in zip(layers.features, getattr(found, kind), strict=True):
            assert_close(maps, function(outputs[layer], scores, to_map=to_map))
            assert not maps.requires_grad
            assert maps.shape[:2] == (2, 3)


@FAMILY
def test_everything_else_is_as_without_them(name):
    model, layers = build(name), layers_of(name)
    batch = images(2)
    found, plain = asked(model, batch, layers=layers), class_activation(model, batch, layers=layers)
    assert plain.layer_cams == plain.bagcams == []
    assert_close(found[:4], plain[:4], rtol=0, atol=0)
    for tensor in (found.logits, found.labels, found.cam, *found.features):
        assert not tensor.requires_grad


def test_most_of_them_show_something():
    """Otherwise the comparisons above would compare zeros."""
    shown = []
    for name in FAMILIES:
        found = asked(build(name).double(), layers=layers_of(name, torch.float64))
        shown += [bool(one.any()) for one in (*found.layer_cams, *found.bagcams)]
    assert sum(shown) > 0.8 * len(shown)


def test_the_order_and_number_of_the_layers_do_not_matter():
    model = build("resnet").double()
    layers = find_layers(model, IMAGES, layers=["layer1", "layer2", "layer3"])
    found = asked(model, layers=layers)
    turned = asked(model, layers=layers._replace(features=layers.features[::-1]))
    assert_close(found.layer_cams, turned.layer_cams[::-1], rtol=0, atol=0)
    alone = asked(model, layers=layers._replace(features=("layer2",)))
    assert_close(alone.layer_cams[0], found.layer_cams[1])


def test_grad_cam_is_the_same_beside_them():
    model = build("resnet").double()
    layers = layers_of("resnet", torch.float64)._replace(head=None)
    found, plain = asked(model, layers=layers), class_activation(model, IMAGES, layers=layers)
    assert_close(found.cam, plain.cam)
    same = layers._replace(features=(layers.cam,))
    assert_close(asked(model, layers=same).cam, plain.cam)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_frozen_models_in_any_mode(mode):
    model = build("resnet").double()
    expected = asked(model).layer_cams
    model.requires_grad_(False)
    with mode():
        found = asked(model)
    assert_close(found.layer_cams, expected, rtol=0, atol=0)


def test_the_model_is_left_as_it_was():
    model = build("resnet").double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked(model, top=2)
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.training


def test_an_image_that_is_not_finite_leaves_the_others_as_they_are():
    model = build("resnet").double()
    layers = layers_of("resnet", torch.float64)
    model.eval()
    with torch.no_grad():
        model.conv1.weight.mul_(1e160)  # finite, but not what follows for a large image
    batch = torch.cat([IMAGES[:1] * 1e160, IMAGES[1:]])
    found = asked(model, batch, layers=layers)
    alone = asked(model, batch[1:], layers=layers)
    every = [*found.layer_cams, *found.bagcams], [*alone.layer_cams, *alone.bagcams]
    for one, other in zip(*every, strict=True):
        assert not one[0].any()
        assert_close(one[1:], other)


class InPlace(nn.Module):
    """Changes the output of its first layer in place, as networks with in-place ReLUs do."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 8, 3, 2, 1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.first(x).mul_(2).relu_()
        return self.head(self.last(x).relu_().mean((2, 3)))


def test_a_layer_that_is_changed_in_place():
    torch.manual_seed(0)
    model = InPlace().double()
    layers = find_layers(model, IMAGES, layers=["first", "last"])
    found = asked(model, layers=layers)
    kept = model.first(IMAGES).detach().requires_grad_()
    score = model.head(model.last((kept * 2).relu()).relu().mean((2, 3)))
    expected = layer_cam(kept, score.gather(1, found.labels))
    assert_close(found.layer_cams[0], expected)
    assert_close(found.features[0], kept.detach())


def test_zero_where_the_score_does_not_depend_on_the_layer():
    model = build("vit").double()
    layers = layers_of("vit", torch.float64)
    last = f"blocks.{len(model.blocks) - 1}"
    found = asked(model, layers=layers._replace(features=("blocks.0", last)))
    for kind in KINDS:
        assert getattr(found, kind)[0].any()
        assert not getattr(found, kind)[1].any()


class WithoutGraph(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = build("plain")

    @torch.no_grad()
    def forward(self, x):
        maps = self.model[:4](x)
        with torch.no_grad():
            return self.model[4:](maps.detach())


def test_a_model_without_a_graph_is_refused():
    model = WithoutGraph()
    layers = find_layers(model, images(1))
    assert class_activation(model, images(1), layers=layers).cam.any()
    with pytest.raises(ValueError, match=r"^model: expected logits with a gradient, .* got logits"):
        asked(model, images(1), layers=layers)
    with torch.inference_mode():
        inference = build("plain")
    with pytest.raises(ValueError, match=r"^model: expected weights that gradients can go through"):
        asked(inference, images(1), layers=layers_of("plain"))


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_counted_from_the_last_layer(kind):
    model, layers = build("resnet").double(), layers_of("resnet", torch.float64)
    every = getattr(asked(model, layers=layers), kind)
    assert len(every) == 2
    alone = class_activation(model, IMAGES, layers=layers, **{kind: 1})
    assert sum(len(getattr(alone, one)) for one in KINDS) == 1
    assert_close(getattr(alone, kind)[0], every[1])


def test_each_kind_has_its_own_number():
    model, layers = build("resnet").double(), layers_of("resnet", torch.float64)
    every = asked(model, layers=layers)
    found = class_activation(model, IMAGES, layers=layers, layer_cams=1, bagcams=2)
    assert_close(found.layer_cams, every.layer_cams[1:])
    assert_close(found.bagcams, every.bagcams)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        ("all", TypeError, "an integer >= 0, got str"),
        (True, TypeError, "an integer >= 0, got bool"),
        (-1, ValueError, "an integer >= 0, got -1"),
        (3, ValueError, "at most 2 as there are layers of features, got 3"),
    ],
)
def test_wrong_numbers(kind, count, error, message):
    with pytest.raises(error, match=f"^{kind}: expected {message}"):
        class_activation(build("resnet"), images(1), layers=layers_of("resnet"), **{kind: count})
