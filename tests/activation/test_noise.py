"""What a model does with the probe's noise: refuses it, changes it in place, makes it NaN."""

import pytest
import torch
from torch import nn

from tests.support import zoo
from tests.support.zoo import seeded
from wsolrefine import Localizer, class_activation, find_layers, find_stages
from wsolrefine.activation.layers import Layers

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
GIVEN = Layers(("layer2", "layer3"), "layer4", "fc")


class First(nn.Module):
    """A classifier that does something to its images first."""

    def __init__(self, function, make=zoo.ResNet):
        super().__init__()
        self.model, self.function = make(), function

    def forward(self, x):
        return self.model(self.function(x))


def within(low, high):
    def check(x):
        if x.min() < low or x.max() > high:
            raise AssertionError(f"expected values in [{low}, {high}]")
        return x

    return check


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_refuses_noise_gets_it_in_the_range_of_the_images(low, high, dtype):
    model = seeded(First, within(low, high)).to(dtype)
    images = (IMAGES * (high - low) + low).to(dtype)
    expected = Layers(("model.layer2", "model.layer3"), "model.layer4", "model.fc")
    assert find_layers(model, images) == expected
    assert Localizer(model)(images).maps.shape == (2, 1, 64, 64)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 64, 64), IMAGES[:0], torch.full((1, 3, 64, 64), torch.nan)]
)
def test_images_without_a_range_stand_for_0_to_1(images):
    model = seeded(First, within(0, 1))
    assert find_layers(model, images).head == "model.fc"


def test_the_error_of_a_model_that_refuses_all_noise_has_its_message():
    model = seeded(First, within(0, 1))
    images = (IMAGES * 3 - 1.5).clamp(-1, 1)
    with pytest.raises(
        ValueError,
        match=r"^model: expected one that runs on noise like the images, \(2, 3, 64, 64\) in "
        r"\[-1, 1\], got AssertionError: expected values in \[0, 1\]$",
    ) as caught:
        find_layers(model, images)
    assert isinstance(caught.value.__cause__, AssertionError)


def fails(error):
    def function(x):
        raise error

    return function


@pytest.mark.parametrize(
    "error", [KeyError("key"), NotImplementedError("later"), TypeError("no mask"), IndexError("7")]
)
def test_any_failure_of_the_model_is_an_error_of_the_house(error):
    for find in (find_layers, find_stages):
        with pytest.raises(ValueError, match=f"^model: .* got {type(error).__name__}: ") as caught:
            find(seeded(First, fails(error)), IMAGES)
        assert caught.value.__cause__ is error


def test_a_model_in_half_precision_is_named():
    with pytest.raises(TypeError, match=r"^images: expected torch.float16 as the model, got"):
        find_layers(seeded(zoo.ResNet).half(), IMAGES)


@pytest.mark.parametrize("make", [zoo.ResNet, lambda: zoo.ViT(image_size=(64, 64))])
def test_images_are_not_changed_by_a_model_that_changes_its_input(make):
    model, images = seeded(First, lambda x: x.sub_(0.5).div_(0.2), make), IMAGES.clone()
    plain = seeded(First, lambda x: (x - 0.5) / 0.2, make)
    assert find_layers(model, images) == find_layers(plain, images)
    torch.testing.assert_close(class_activation(model, images), class_activation(plain, IMAGES))
    Localizer(model)(images)
    assert torch.equal(images, IMAGES)


def test_a_stride_of_its_own_along_each_axis_is_refused_with_the_size_of_the_grid():
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, (4, 2), 1), *head)
    with pytest.raises(
        ValueError, match=r"4 without a grid of the image's aspect, such as '0' \(B, 8, 16, 32\)"
    ):
        find_layers(model, IMAGES)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, 4, 1), nn.Conv2d(12, 8, 3, (1, 2), 1), *head)
    with pytest.raises(ValueError, match=r"^layers: .* from '1' .*, without .* \(64 x 64\)$"):
        find_layers(model, IMAGES, layers=["1"])


# Weights that are not finite ----------------------------------------------------------------------

WEIGHTS = ["conv1.weight", "layer2.1.bn1.running_var", "layer4.0.conv2.weight", "fc.weight"]


def spoiled(name, value):
    model = seeded(zoo.ResNet)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors[name].data.flatten()[1] = value
    return model


@pytest.mark.parametrize("name", [*WEIGHTS, "fc.bias"])
def test_weights_that_are_nan_are_named(name):
    for call in (
        lambda model: find_layers(model, IMAGES),
        lambda model: find_stages(model, IMAGES),
        lambda model: class_activation(model, IMAGES, layers=GIVEN),
        lambda model: Localizer(model)(IMAGES),
    ):
        with pytest.raises(ValueError, match=f"^model: expected finite weights, .* in '{name}'$"):
            call(spoiled(name, torch.nan))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf])
def test_weights_that_are_infinite_are_named(value):
    with pytest.raises(ValueError, match=r"^model: .* in 'layer3.0.conv1.weight'$"):
        find_layers(spoiled("layer3.0.conv1.weight", value), IMAGES)


def test_the_layer_at_which_values_overflow_is_named():
    model = seeded(zoo.ResNet)
    for conv in (model.layer4[0].conv1, model.layer4[0].conv2, model.layer4[1].conv1):
        conv.weight.data *= 1e30
    with pytest.raises(ValueError, match=r"^model: expected finite logits .* 'layer4.0.conv2'$"):
        find_layers(model, IMAGES)


def test_minus_infinity_rules_out_a_class():
    """As a mask of the classes that a subset does not have: the head stays a linear one."""
    model = spoiled("fc.bias", -torch.inf)
    assert find_layers(model, IMAGES) == GIVEN
    out = class_activation(model, IMAGES, top=3)
    assert out.cam.isfinite().all()
    assert 1 not in out.labels


def test_an_image_of_nan_is_no_fault_of_the_model():
    images = IMAGES.clone()
    images[0, 0, 5, 5] = torch.nan
    out = class_activation(seeded(zoo.ResNet), images, layers=GIVEN)
    assert not out.cam[0].any()
    torch.testing.assert_close(out.cam[1], class_activation(seeded(zoo.ResNet), IMAGES).cam[1])
