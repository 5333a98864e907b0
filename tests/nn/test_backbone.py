import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.support import zoo
from tests.support.backbones import BACKBONES, SIDE, Plain, Tokens, efficientnet, one_thread  # noqa: F401
from tests.support.photographs import classifier
from wsolrefine.activation.hooks import capture
from wsolrefine.activation.layers import find_stages
from wsolrefine.nn import FeatureList, stage_channels

IMAGES = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def small():
    """Layers 0 and 2 have a grid of their own, 5 (a linear layer) has none."""
    layers = [zoo.conv(3, 4), nn.BatchNorm2d(4), zoo.conv(4, 6, stride=2), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(6 * (SIDE // 2) ** 2, 5), nn.BatchNorm1d(5)]
    return zoo.seeded(nn.Sequential, *layers)


def calls(module):
    """Return a list that grows with each call of the module."""
    found = []
    module.register_forward_pre_hook(lambda *_: found.append(None))
    return found


# FeatureList --------------------------------------------------------------------------------------

FAMILIES = {
    "ResNet": (zoo.ResNet, ("relu", "layer1", "layer2", "layer3", "layer4")),
    "MobileNetV2": (zoo.MobileNetV2, ("features.1", "features.3", "features.5", "features.8")),
    "ViT": (zoo.ViT, ("blocks.0", "blocks.2")),
    "Swin": (zoo.Swin, ("layers.0", "layers.1", "layers.3")),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_are_the_outputs_of_the_layers_shallow_to_deep(family):
    make, layers = FAMILIES[family]
    model = zoo.seeded(make, **({"image_size": (64, 64)} if family == "ViT" else {}))
    images = torch.rand(2, 3, 64, 64)
    layers = [name for name in layers if name in dict(model.named_modules())]
    maps = FeatureList(model, layers)(images)
    with capture(model, *layers) as outputs:
        model(images)
    for found, name in zip(maps, layers, strict=True):
        expected = outputs[name]
        if expected.ndim == 3:  # tokens, the first of them a class token
            expected = expected[:, 1:].mT.unflatten(2, (4, 4))
        elif family == "Swin":
            expected = expected.permute(0, 3, 1, 2)
        assert_close(found, expected)


def test_order_is_that_of_the_names_and_names_may_repeat():
    model = small()
    late, early, again = FeatureList(model, ["2", "0", "2"])(IMAGES)
    first, second = FeatureList(model, ["0", "2"])(IMAGES)
    assert_close(early, first)
    assert_close(late, second)
    assert_close(again, second)


def test_the_model_stops_after_the_last_layer_named():
    """It has to know how often each of them runs, which the first call finds out."""
    model = small().train()
    backbone = FeatureList(model, ["0", "2"])
    backbone(IMAGES)
    seen = [calls(layer) for layer in model]
    backbone(IMAGES)
    assert [len(times) for times in seen] == [1, 1, 1, 0, 0, 0, 0]


def test_statistics_change_once_a_call_and_only_of_layers_before_the_last():
    model = small().train()
    backbone = FeatureList(model, ["0", "2"])
    for times in (1, 2):
        backbone(IMAGES)
        assert int(model[1].num_batches_tracked) == times
        assert int(model[6].num_batches_tracked) == 0


def test_a_layer_that_runs_twice_gives_its_last_output():
    """As an activation that a whole network shares does."""
    shared = nn.ReLU()
    model = nn.Sequential(zoo.conv(3, 4), shared, zoo.conv(4, 6, stride=2), shared, nn.Flatten())
    expected = zoo.seeded(lambda: model)[:4](IMAGES)
    backbone = FeatureList(model, ["0", "1"])
    for _ in range(2):
        assert_close(backbone(IMAGES)[1], expected)


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_class_scores_come_with_the_maps_from_one_pass(first):
    """Whether or not the runs of the layers were counted before."""
    model = small()
    backbone = FeatureList(model, ["0", "2"])
    expected = backbone(IMAGES) if first else FeatureList(model, ["0", "2"])(IMAGES)
    if not first:
        backbone.with_logits(IMAGES)
    seen = calls(model[0])
    maps, logits = backbone.with_logits(IMAGES)
    assert len(seen) == 1
    assert_close(maps, expected, rtol=0, atol=0)
    assert_close(logits, model(IMAGES), rtol=0, atol=0)
    (logits.sum() + maps[0].sum()).backward()
    assert model[5].weight.grad.any()


@pytest.mark.parametrize("layers", [["0"], ["0", "1"], ["1"]])
def test_maps_with_class_scores_are_those_without_if_layers_work_in_place(layers):
    model = nn.Sequential(zoo.conv(3, 4), zoo.conv(4, 6), nn.ReLU(inplace=True), nn.Flatten())
    model.append(nn.Linear(6 * SIDE**2, 5))
    backbone = FeatureList(zoo.seeded(lambda: model), layers)
    assert_close(backbone.with_logits(IMAGES)[0], backbone(IMAGES), rtol=0, atol=0)


class Several(nn.Module):
    """A classifier with two outputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.other = zoo.conv(3, 4), nn.Linear(4, 5), nn.Linear(4, 5)

    def forward(self, images):
        pooled = self.conv(images).mean((2, 3))
        return {"one": self.one(pooled), "other": self.other(pooled)}


def test_which_output_holds_the_class_scores():
    model = zoo.seeded(Several)
    found = FeatureList(model, ["conv"], logits="other").with_logits(IMAGES)[1]
    assert torch.equal(found, model(IMAGES)["other"])
    with pytest.raises(ValueError, match="model: expected one output that can be logits"):
        FeatureList(model, ["conv"]).with_logits(IMAGES)
    with pytest.raises(ValueError, match="model: expected logits of shape"):
        FeatureList(Plain(), ["stages.0"]).with_logits(IMAGES)
    with pytest.raises(TypeError, match="logits: expected"):
        FeatureList(model, ["conv"], logits=0.5)


def test_it_is_a_module_around_the_same_model():
    model = small()
    backbone = FeatureList(model, ["2"])
    assert backbone.model is model
    assert {id(p) for p in backbone.parameters()} == {id(p) for p in model.parameters()}
    assert not backbone.train().eval().model[1].training
    other = copy.deepcopy(backbone)
    nn.init.zeros_(model[2].weight)
    assert not backbone(IMAGES)[0].any()
    assert other(IMAGES)[0].any()
    backbone.load_state_dict(other.state_dict())
    assert_close(backbone(IMAGES), other(IMAGES))


def test_gradients_reach_the_layers_before_and_no_other():
    model = small()
    images = IMAGES.clone().requires_grad_()
    FeatureList(model, ["0", "2"])(images)[1].square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {"0.weight", "1.weight", "1.bias", "2.weight"}
    assert images.grad.any()


def test_a_model_that_raises_raises_and_keeps_no_hook():
    model = small()
    backbone = FeatureList(model, ["5"])
    with pytest.raises(ValueError, match=r"^images: expected .* shapes cannot be multiplied"):
        backbone(torch.rand(1, 3, 8, 8))
    FeatureList(model, ["0"])(IMAGES)
    assert not any(layer._forward_hooks for layer in model)


def test_a_backbone_may_hold_another():
    """The way out of the outer model must not be taken for the way out of the inner one."""
    inner = FeatureList(small(), ["0", "2"])
    expected = inner(IMAGES)[0]
    assert_close(FeatureList(nn.Sequential(inner), ["0.model.0"])(IMAGES), [expected])


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ("0", TypeError, "layers: expected a list of names, got the string '0'"),
        ([], ValueError, "layers: expected at least one name, got []"),
        (["0", "7"], ValueError, "layers: expected names from model.named_modules(), got '7'"),
    ],
)
def test_errors_of_the_constructor(layers, error, message):
    with pytest.raises(error) as caught:
        FeatureList(small(), layers)
    assert message in str(caught.value)


def test_errors_of_the_call():
    model = small()
    with pytest.raises(ValueError, match=r"layers: expected a map or tokens from '5' \(or to_map"):
        FeatureList(model, ["0", "5"])(IMAGES)
    with pytest.raises(ValueError, match=r"images: expected shape \(B, C, H, W\), got"):
        FeatureList(model, ["0"])(IMAGES[0])
    with pytest.raises(TypeError, match=r"images: expected a floating-point"):
        FeatureList(model, ["0"])(IMAGES.to(torch.uint8))
    network = zoo.seeded(zoo.BasicBlock, 3, 3, 1)
    network.unused = nn.Conv2d(3, 3, 1)
    message = "layers: expected a layer that the model runs, got 'unused'"
    with pytest.raises(ValueError, match=message):
        FeatureList(network, ["conv1", "unused"])(IMAGES)


def test_stops_also_inside_autocast_and_inference_mode():
    model = small()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (maps,) = FeatureList(model, ["0"])(IMAGES)
    assert maps.dtype == torch.bfloat16
    assert not torch.is_inference_mode_enabled()
    assert model(IMAGES).dtype == torch.float32


# find_stages and stage_channels -------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [zoo.ResNet, zoo.VGG, zoo.MobileNetV2, zoo.DenseNet, zoo.SqueezeNet, zoo.Swin, zoo.ViT]
)
def test_stages_end_on_ever_smaller_grids(make):
    model, images = zoo.seeded(make), torch.rand(1, 3, 224, 224)
    before = copy.deepcopy(model.state_dict())
    names = find_stages(model.train(), images)
    assert all(module.training for module in model.modules())
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    sizes = [maps.shape[-1] for maps in FeatureList(model.eval(), names)(images)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert len(sizes) >= (1 if make is zoo.ViT else 2)


def test_stages_of_the_offline_classifier():
    model = classifier().model
    names = find_stages(model, torch.rand(1, 3, 224, 224))
    maps = FeatureList(model, names)(torch.rand(1, 3, 224, 224))
    assert [tuple(one.shape[1:]) for one in maps] == [
        *((16, 112, 112), (24, 56, 56), (40, 28, 28), (112, 14, 14), (1280, 7, 7))
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_channels_are_those_of_the_maps(name):
    backbone = BACKBONES[name]()
    assert stage_channels(backbone, IMAGES) == [maps.shape[1] for maps in backbone(IMAGES)]


def test_channels_leave_the_backbone_as_it_was():
    backbone = zoo.seeded(Plain).train()
    backbone.stages[0].eval()
    before = copy.deepcopy(backbone.state_dict())
    assert stage_channels(backbone, IMAGES) == [4, 8, 12, 16]
    assert_close(backbone.state_dict(), before, rtol=0, atol=0)
    assert backbone.training
    assert not backbone.stages[0].training


def test_errors_of_channels():
    with pytest.raises(ValueError, match=r"backbone: expected a list of maps from images, got Ten"):
        stage_channels(small(), IMAGES)
    with pytest.raises(
        ValueError, match=r"backbone: expected a list of maps from images, got dict"
    ):
        stage_channels(Wrapped(lambda images: {"0": images}), IMAGES)
    with pytest.raises(ValueError, match=r"backbone output 1: expected shape \(B, C, h, w\), got"):
        stage_channels(Wrapped(lambda images: [images, images.flatten(1)]), IMAGES)
    with pytest.raises(ValueError, match=r"images: expected shape \(B, C, H, W\), got"):
        stage_channels(zoo.seeded(Tokens), IMAGES[0])


class Wrapped(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def test_the_offline_backbone_of_these_tests():
    assert [tuple(maps.shape[2:]) for maps in efficientnet()(IMAGES)] == [
        (16, 16),
        (8, 8),
        (4, 4),
        (2, 2),
    ]
