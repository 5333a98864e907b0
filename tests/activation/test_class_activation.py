import copy
import functools
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.activation.test_capture import hooks
from tests.support import zoo
from tests.support.photographs import FOLDER, classifier
from tests.support.photographs import layers as layers_of_classifier
from tests.support.zoo import CLASSES, seeded
from wsolrefine import Localizer, minmax, scg
from wsolrefine.activation.cams import gap_cam, grad_cam
from wsolrefine.activation.forward import class_activation
from wsolrefine.activation.hooks import capture
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.functional.tokens import tokens_to_map

# Model, its constructor's arguments, how tokens or channels-last maps are laid out.
FAMILIES = {
    "resnet": (zoo.ResNet, {}, None),
    "vgg": (zoo.VGG, {}, None),
    "mobilenet": (zoo.MobileNetV2, {}, None),
    "densenet": (zoo.DenseNet, {}, None),
    "tanh": (zoo.FunctionalTanh, {}, None),
    "squeezenet": (zoo.SqueezeNet, {}, None),
    "vit": (zoo.ViT, {"image_size": (64, 64)}, partial(tokens_to_map, num_prefix_tokens=1)),
    "vit registers": (
        zoo.ViT,
        {"image_size": (64, 64), "registers": 4},
        partial(tokens_to_map, num_prefix_tokens=5),
    ),
    "vit mean": (
        zoo.ViT,
        {"image_size": (64, 64), "registers": 4, "class_token": False},
        partial(tokens_to_map, num_prefix_tokens=4),
    ),
    "swin": (zoo.Swin, {}, tokens_to_map),
    "swin v1": (zoo.SwinV1, {}, tokens_to_map),
}
FAMILY = pytest.mark.parametrize("name", FAMILIES)


def build(name):
    make, arguments, _ = FAMILIES[name]
    return seeded(make, **arguments)


def pictures(batch=2, size=(64, 64), seed=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@functools.cache
def layers_of(name):
    """Find the layers once for all tests that are about something else."""
    return find_layers(build(name), pictures())


@functools.cache
def usual(name):
    """Return what is found in single precision, with gradients on."""
    return class_activation(build(name), pictures())


@FAMILY
def test_it_is_the_parts_put_together(name):
    model, images, to_map = build(name), pictures().requires_grad_(), FAMILIES[name][2]
    layers = find_layers(model, images)
    out = class_activation(model, images, top=3)

    with capture(model, layers.cam, *layers.features) as outputs:
        logits = model(images)
    assert_close(out.logits, logits.detach())
    assert_close(out.labels, logits.topk(3).indices)
    features = outputs[layers.features[0]].detach()
    assert_close(out.features[0], to_map(features) if to_map else features)
    if name == "tanh":  # the averaged map is the input of the layer
        return
    # Grad-CAM at the averaged map is the CAM, so this covers heads as well.
    cam = grad_cam(outputs[layers.cam], logits.gather(1, out.labels), to_map=to_map)
    if name != "densenet":  # a ReLU comes between
        assert_close(out.cam, cam, atol=1e-5, rtol=0)


def test_the_relu_that_no_layer_shows_is_applied():
    model, images = build("densenet"), pictures()
    out = class_activation(model, images)
    with capture(model, "features.norm5") as outputs, torch.no_grad():
        model(images)  # its in-place ReLU shows in what was captured
    maps = outputs["features.norm5"]
    assert maps.min() == 0
    assert_close(out.cam, gap_cam(maps, model.classifier.weight.detach(), out.labels))


def test_the_map_that_only_the_pooling_layer_sees_is_used():
    model, images = build("tanh"), pictures()
    out = class_activation(model, images)
    with torch.no_grad():
        maps = model.stage(model.stem(images)).tanh()
    assert_close(out.cam, gap_cam(maps, model.fc.weight.detach(), out.labels))


def test_the_class_map_of_a_network_that_averages_its_logits():
    model, images = build("squeezenet"), pictures()
    out = class_activation(model, images, labels=torch.tensor([[3, 7], [0, 3]]))
    with torch.no_grad():
        maps = model.classifier[:3](model.features(images))
    expected = torch.stack([maps[i, labels] for i, labels in enumerate(out.labels)])
    assert_close(out.cam, minmax(expected))


@FAMILY
def test_ranges_shapes_and_no_graph(name):
    out = class_activation(build(name), pictures(3), labels=torch.tensor([[0, 4]] * 3))
    assert out.logits.shape == (3, CLASSES)
    assert out.labels.shape == out.cam.shape[:2] == (3, 2)
    assert ((out.cam >= 0) & (out.cam <= 1)).all()
    assert set(out.cam.amax((2, 3)).flatten().tolist()) <= {0.0, 1.0}
    assert not any(t.requires_grad for t in (out.logits, out.cam, *out.features))
    refined = scg(out.cam, out.features)
    assert refined.shape == (3, 2, *out.features[0].shape[-2:])


@FAMILY
def test_grid_of_an_image_that_is_not_square(name):
    make, arguments, _ = FAMILIES[name]
    size = (96, 160)
    model = seeded(make, **({**arguments, "image_size": size} if make is zoo.ViT else arguments))
    out = class_activation(model, pictures(2, size))
    for maps in (out.cam, *out.features):
        assert maps.shape[-2] * 5 == maps.shape[-1] * 3


@FAMILY
def test_the_model_is_as_it_was(name):
    model = build(name).train()
    list(model.children())[-1].eval()  # a mixture of modes comes back as one
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)
    images = pictures()
    model(images).sum().backward()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    wanted = [p.requires_grad for p in model.parameters()]
    state = torch.random.get_rng_state()

    class_activation(model, images)
    class_activation(model, images, layers=find_layers(model, images)._replace(head=None))

    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert_close([p.grad for p in model.parameters() if p.grad is not None],
                 [g for g in grads if g is not None], rtol=0, atol=0)  # fmt: skip
    assert [p.grad is None for p in model.parameters()] == [g is None for g in grads]
    assert [p.requires_grad for p in model.parameters()] == wanted
    assert hooks(model) == 0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("head", [True, False])
def test_the_model_is_as_it_was_after_it_raised(head):
    class Breaks(zoo.ResNet):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("broken model")

    model = Breaks().train()
    layers = Layers(("layer3",), "layer4", "fc" if head else None)
    for call, error, message in (
        (
            lambda: class_activation(model, pictures(), layers=layers),
            *(RuntimeError, "^broken model$"),
        ),
        (
            lambda: find_layers(model, pictures()),
            *(ValueError, "^model: expected one that runs on noise .*: broken model$"),
        ),
    ):
        with pytest.raises(error, match=message):
            call()
        assert hooks(model) == 0
        assert all(module.training for module in model.modules())
        assert torch.is_grad_enabled()


def test_training_mode_gives_what_evaluation_mode_gives():
    images = pictures()
    expected = class_activation(build("mobilenet"), images)
    actual = class_activation(build("mobilenet").train(), images)
    assert_close(actual.cam, expected.cam)


@FAMILY
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_frozen_weights_and_gradients_off(name, off):
    model = build(name).requires_grad_(False)
    for layers in (layers_of(name), layers_of(name)._replace(head=None)):
        wanted = class_activation(model, pictures(), layers=layers)
        with off():
            actual = class_activation(model, pictures(), layers=layers)
            assert not torch.is_grad_enabled()
        assert_close(actual.cam, wanted.cam)
        assert not actual.cam.is_inference()
    with off():
        assert find_layers(model, pictures()) == layers_of(name)
        assert not torch.is_grad_enabled()


@FAMILY
def test_images_do_not_influence_each_other(name):
    model, images = build(name), pictures(3)
    for layers in (layers_of(name), layers_of(name)._replace(head=None)):
        out = class_activation(model, images, layers=layers, top=2)
        one = class_activation(model, images[1:2], layers=layers, top=2)
        assert_close(out.cam[1:2], one.cam, atol=1e-4, rtol=0)
        broken = images.clone()
        broken[0, 1, 20, 30] = torch.nan
        spoiled = class_activation(model, broken, layers=layers, labels=out.labels)
        assert_close(spoiled.cam[1:], out.cam[1:], atol=1e-4, rtol=0)
        assert spoiled.cam.isfinite().all()
        if "vit" in name:  # attention spreads the NaN everywhere, a convolution to its corner
            assert not spoiled.cam[0].any()


def test_all_images_broken():
    out = class_activation(build("resnet"), pictures() * torch.nan)
    assert not out.cam.any()


def test_an_empty_batch():
    for name in ("resnet", "vgg", "swin"):
        out = class_activation(build(name), pictures(0))
        assert out.cam.shape[:2] == (0, 1)
        assert out.features[0].shape[0] == 0


@FAMILY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_is_kept(name, dtype):
    images, expected = pictures(), usual(name)
    model = build(name).to(dtype)
    out = class_activation(model, images.to(dtype), labels=expected.labels)
    assert out.cam.dtype == out.logits.dtype == out.features[0].dtype == dtype
    loss = 0.3 if dtype == torch.bfloat16 else 0.05
    assert (out.cam.double() - expected.cam.double()).abs().mean() < loss


@FAMILY
def test_autocast(name):
    model, images, expected = build(name), pictures(), usual(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = class_activation(model, images, labels=expected.labels)
    assert out.cam.dtype == out.features[0].dtype == torch.float32
    assert (out.cam - expected.cam).abs().mean() < 0.3
    assert scg(out.cam, out.features).isfinite().all()


@pytest.mark.parametrize("name", [name for name, (_, _, to_map) in FAMILIES.items() if to_map])
def test_to_map_by_hand_is_what_the_shape_tells(name):
    model, images, to_map = build(name), pictures(), FAMILIES[name][2]
    assert_close(class_activation(model, images, to_map=to_map), usual(name))


def test_labels_of_one_axis_are_one_class_an_image():
    model, images = build("resnet"), pictures()
    out = class_activation(model, images, labels=torch.tensor([4, 2]))
    both = class_activation(model, images, labels=torch.tensor([[4, 1], [2, 1]]))
    assert out.labels.tolist() == [[4], [2]]
    assert_close(out.cam, both.cam[:, :1])


@pytest.mark.parametrize("localize", [True, False], ids=["Localizer", "class_activation"])
def test_one_hot_labels_are_refused_and_classes_of_the_same_shape_are_not(localize):
    model, images = build("resnet"), pictures()

    def mapped(labels):
        if localize:
            return Localizer(model)(images, labels).labels
        return class_activation(model, images, labels=labels).labels

    classes = torch.tensor([4, 2])
    one_hot = nn.functional.one_hot(classes, CLASSES)
    several = one_hot.clone()
    several[:, 0] = 1
    for wrong in (one_hot, several, torch.zeros_like(one_hot), torch.ones_like(one_hot)):
        with pytest.raises(ValueError, match=r"^labels: expected class indices, .* one-hot labels"):
            mapped(wrong)
    assert mapped(one_hot.argmax(1)).flatten().tolist() == [4, 2]
    # A class may be asked for twice, and 0 and 1 alone for fewer columns than there are classes.
    for right in (torch.arange(CLASSES).expand(2, -1), one_hot[:, :2], 2 * one_hot):
        assert torch.equal(mapped(right), right)


def test_two_classes_may_both_be_asked_for():
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(4, 2)).eval()
    both = torch.tensor([[0, 1], [1, 0]])
    assert torch.equal(class_activation(model, pictures(), labels=both).labels, both)
    for wrong in (torch.tensor([[0, 0], [1, 0]]), torch.tensor([[1, 1], [1, 1]])):
        with pytest.raises(ValueError, match=r"^labels: .* one-hot"):
            class_activation(model, pictures(), labels=wrong)


def test_layers_by_hand():
    model, images = build("resnet"), pictures()
    layers = Layers(("layer2", "layer3", "layer4"), "layer4.1.conv1", None)
    out = class_activation(model, images, layers=layers)
    assert [tuple(f.shape[-2:]) for f in out.features] == [(8, 8), (4, 4), (2, 2)]
    same = class_activation(model, images, layers=Layers(("layer4",), "avgpool", "fc"))
    assert_close(same.cam, class_activation(model, images).cam)


def test_a_layer_before_an_in_place_operation_is_as_it_was_returned():
    model, images = build("resnet"), pictures()
    out = class_activation(model, images, layers=Layers(("bn1",), "bn1", None))
    with torch.no_grad():
        expected = model.bn1(model.conv1(images))
    assert expected.min() < 0
    assert_close(out.features[0], expected)
    leaf = expected.clone().requires_grad_()
    rest = model.layer4(model.layer3(model.layer2(model.layer1(model.maxpool(leaf.relu())))))
    logits = model.fc(rest.mean((2, 3)))
    assert_close(out.cam, grad_cam(leaf, logits.gather(1, out.labels)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_compiled_models(name):
    images = pictures()
    expected = class_activation(build(name), images)
    whole = torch.compile(build(name), backend="eager")
    inside = build(name)
    inside.compile(backend="eager")
    for model in (whole, inside):
        with torch.no_grad():
            model(images)  # compiled before any hook
        assert_close(class_activation(model, images), expected)
        assert model(images).shape == (2, CLASSES)


class Tuples(nn.Module):
    """A layer that returns its map in a tuple, as transformer blocks of some libraries do."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.block = nn.Conv2d(8, 12, 3, 2, 1)
        self.block.register_forward_hook(lambda module, args, output: (output, "attention"))
        self.fc = nn.Linear(12 * 16, CLASSES)

    def forward(self, x):
        return {"logits": self.fc(self.block(self.stem(x))[0].flatten(1))}


def test_layers_that_return_tuples():
    model, images = seeded(Tuples), pictures()
    model.requires_grad_(False)
    out = class_activation(model, images)
    assert find_layers(model, images) == Layers(("stem",), "block", None)
    assert out.cam.shape == (2, 1, 4, 4)
    assert out.cam.amax((2, 3)).tolist() == [[1.0], [1.0]]


def test_methods_of_the_model_that_change_its_mode_are_not_called():
    class Merges(zoo.ResNet):
        def train(self, mode=True):
            raise AssertionError("train() was called")

    model = Merges()
    class_activation(model, pictures())
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": [1, 2]}, TypeError, r"labels\[0\]: expected a list of class indices, got int"),
        (
            {"labels": torch.tensor([1])},
            ValueError,
            r"labels: expected shape \(B,\) or \(B, K\) with B=2 from images, got \(1,\)",
        ),
        (
            {"labels": torch.tensor([1, 10])},
            ValueError,
            "labels: expected class indices from 0 to 9, got 10",
        ),
        (
            {"labels": torch.tensor([-1, 3])},
            ValueError,
            "labels: expected class indices from 0 to 9, got -1",
        ),
        ({"top": 0}, ValueError, "top: expected an integer from 1 to 10, got 0"),
        ({"top": 11}, ValueError, "top: expected an integer from 1 to 10, got 11"),
        (
            {"layers": Layers(("layer3",), "layer5", None)},
            ValueError,
            r"layers: expected names .*, got 'layer5' \(close: 'layer4'\)",
        ),
        (
            {"layers": ("layer3", "layer4", None)},
            ValueError,
            "layers: expected a tuple of features, got 'layer3'",
        ),
        (
            {"layers": Layers(("layer3",), "unused", None)},
            ValueError,
            "layers: expected a layer that the model runs, got 'unused'",
        ),
        (
            {"layers": Layers(("fc",), "layer4", "fc")},
            ValueError,
            r"layers: expected a map or tokens from 'fc' \(or to_map .*\), got shape \(2, 10\)",
        ),
        (
            {"layers": Layers(("layer3",), "layer4.0", "fc")},
            ValueError,
            r"layers: expected a head that reads the mean of 'layer4.0' .*, got 'fc'",
        ),
        (
            {"layers": Layers(("layer3",), "layer4", "avgpool")},
            ValueError,
            "layers: expected a head of type Linear or Conv2d, got AdaptiveAvgPool2d 'avgpool'",
        ),
    ],
)
def test_errors(arguments, error, message):
    model = build("resnet")
    model.unused = nn.ReLU()
    with pytest.raises(error, match=message):
        class_activation(model, pictures(), **arguments)
    assert hooks(model) == 0


def test_images_are_checked():
    with pytest.raises(
        TypeError, match=r"images: expected a floating-point dtype, got torch\.uint8"
    ):
        class_activation(build("resnet"), torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


# CAMs of other libraries, as they come, in one line ----------------------------------------------


@pytest.fixture(scope="module")
def coffee():
    """A real photograph, with what a user has: CAM, features, and the CAM's exact SCG."""
    from PIL import Image

    loaded = classifier()
    images = loaded.preprocess(Image.open(FOLDER / "coffee.png"))[None]
    out = class_activation(
        loaded.model, images, layers=layers_of_classifier(loaded.model, (224, 224))
    )
    return loaded, images, out, scg(out.cam[:, 0], out.features)


def test_torchcam(coffee):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchcam import methods
    loaded, images, out, expected = coffee
    model = copy.deepcopy(loaded.model)
    features = out.features
    with methods.CAM(
        model, target_layer="_avg_pooling", fc_layer="_fc", input_shape=(3, 224, 224)
    ) as extractor:
        cams = extractor(int(out.labels[0, 0]), model(images))
    assert isinstance(cams, list)
    refined = scg(minmax(cams[0].detach()), features)
    assert refined.shape == expected.shape


def test_captum(coffee):
    _, _, out, expected = coffee
    attribution = out.cam[:, :1] * 3  # LayerGradCam.attribute returns (B, 1, h, w), any range
    features = out.features
    assert_close(scg(minmax(attribution[:, 0]), features), expected)


def test_pytorch_grad_cam(coffee):
    _, _, out, expected = coffee
    large = nn.functional.interpolate(out.cam, (224, 224), mode="bilinear")
    grayscale_cam = large[:, 0].numpy()  # it returns numpy (B, H, W), at the images' size
    assert grayscale_cam.dtype == np.float32
    features = out.features
    refined = scg(torch.from_numpy(grayscale_cam), features)
    assert ((refined > 0.5) == (expected > 0.5)).float().mean() > 0.9


# The real classifier ------------------------------------------------------------------------------


def test_photographs_are_recognised(coffee):
    loaded, _, out, _ = coffee
    assert loaded.class_names[int(out.labels[0, 0])] == "espresso"
    assert out.logits.softmax(1).max() > 0.8
    assert out.cam.shape == (1, 1, 7, 7)
    assert [f.shape for f in out.features] == [(1, 40, 28, 28), (1, 112, 14, 14)]


def test_grad_cam_of_the_real_classifier_is_its_cam(coffee):
    loaded, images, out, _ = coffee
    layers = layers_of_classifier(loaded.model, (224, 224))._replace(head=None)
    assert_close(class_activation(loaded.model, images, layers=layers).cam, out.cam)


# As the README shows it ---------------------------------------------------------------------------


def test_five_lines_for_a_convolutional_network():
    model, images = build("resnet").requires_grad_(False), pictures()
    with capture(model, "layer2", "layer3", "layer4") as outputs, torch.no_grad():
        labels = model(images).argmax(1)
    cam = gap_cam(outputs["layer4"], model.fc.weight, labels)
    refined = scg(cam, [outputs["layer2"], outputs["layer3"]])
    assert refined.shape == (2, 8, 8)
    out = class_activation(model, images)
    assert_close(refined, scg(out.cam, out.features)[:, 0])


def test_five_lines_for_a_vision_transformer():
    model, images = build("vit").requires_grad_(False), pictures()
    to_map = partial(tokens_to_map, num_prefix_tokens=1)
    with capture(model, "blocks.2.norm1", "norm") as outputs:
        scores = model(images.requires_grad_()).amax(1)
    cam = grad_cam(outputs["blocks.2.norm1"], scores, to_map=to_map)
    refined = scg(cam, to_map(outputs["norm"].detach()))
    assert refined.shape == (2, 4, 4)
    out = class_activation(model, images)
    assert_close(refined, scg(out.cam, out.features)[:, 0])
