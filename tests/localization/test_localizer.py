"""What a localizer promises: its definition on all families of networks, and everything around it."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from tests.support.small_localizers import (
    FAMILIES,
    SIDE,
    THRESHOLDS,
    build,
    expected,
    images,
    localizer_of,
    photograph,
    plain,
    tensors,
)
from tests.support.strategies import FLIPS, SEEDS, flip
from tests.support.zoo import CLASSES, ResNet, seeded
from wsolrefine import (
    Classifier,
    Localization,
    Localizer,
    Preprocess,
    capture,
    class_activation,
    find_stages,
    localize,
    scg,
)
from wsolrefine.activation.layers import Layers, find_layers
from wsolrefine.functional.tokens import tokens_to_map
from wsolrefine.localization import localizer as module

METHOD = pytest.mark.parametrize("method", THRESHOLDS)
FAMILY = pytest.mark.parametrize("name", FAMILIES)
IMAGES = images()
NAMES = [f"name {number}" for number in range(CLASSES)]


def same(found, other, **tolerance):
    other = other if isinstance(other, dict) else tensors(other)
    assert_close(tensors(found), other, **tolerance)


exactly_same = partial(same, rtol=0, atol=0)


# The definition -----------------------------------------------------------------------------------


@FAMILY
def test_every_family_of_networks_is_localized_as_defined(name):
    model, batch = build(name).double(), images(3, dtype=torch.float64)
    found = Localizer(model)(batch, top=2)
    same(found, expected(model, batch, "balanced", top=2))
    assert found.maps.shape == (3, 2, SIDE, SIDE)
    assert 0 <= found.maps.min() <= found.maps.max() <= 1


@METHOD
@pytest.mark.parametrize(
    ("name", "parts"), [("densenet", "largest"), ("vit", "all"), ("plain", "instances")]
)
def test_every_method_localizes_as_defined(name, method, parts):
    batch = images(2, dtype=torch.float64)
    localizer = localizer_of(name, torch.float64, refine=method, parts=parts)
    found = localizer(batch, top=3)
    same(found, expected(localizer.model, batch, method, top=3, parts=parts))
    assert (found.method, found.threshold, found.parts) == (method, THRESHOLDS[method], parts)
    assert found.masks.any()


@METHOD
def test_some_masks_have_components_to_choose_from(method):
    """Otherwise the comparisons with the definition would say nothing of ``parts``."""
    found = localizer_of(refine=method)(images(4), top=3)
    assert not torch.equal(found.masks, found.at(found.threshold, parts="all").masks)
    assert not found.masks.flatten(2).all(2).any()


@pytest.mark.parametrize("size", [(48, 80), [1, 1], torch.Size((64, 64)), (np.int64(7), 200)])
def test_another_size(size):
    model, batch = build("resnet").double(), images(2, dtype=torch.float64)
    found = Localizer(model)(batch, top=2, size=size)
    same(found, expected(model, batch, "balanced", top=2, size=tuple(map(int, size))))
    assert found.maps.shape[2:] == found.masks.shape[2:] == tuple(size)


@pytest.mark.parametrize("size", [(64, 96), (50, 37)])
def test_images_that_are_not_square(size):
    model, batch = build("mobilenet").double(), images(2, size, dtype=torch.float64)
    same(Localizer(model)(batch), expected(model, batch, "balanced"))


@given(
    seed=SEEDS,
    threshold=st.integers(0, 99).map(lambda percent: percent / 100),
    top=st.integers(1, CLASSES),
    method=st.sampled_from(["scg", "sem", "gppl", "confseg", "cam"]),
    size=st.none() | st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_drawn_calls_agree_with_the_definition(seed, threshold, top, method, size):
    model, batch = build().double(), images(2, seed=seed, dtype=torch.float64)
    localizer = Localizer(model, refine=method, threshold=threshold)
    found = localizer(batch, top=top, size=size)
    wanted = expected(model, batch, method, top=top, size=size, threshold=threshold)
    borderline = (wanted["maps"] - threshold).abs() < 1e-9
    if borderline.any():  # a rounding decides there
        wanted = {k: v for k, v in wanted.items() if k not in ("masks", "boxes")}
    assert_close({key: tensors(found)[key] for key in wanted}, wanted)


# Images and classes apart -------------------------------------------------------------------------


@FAMILY
def test_images_of_a_batch_are_independent(name):
    localizer = localizer_of(name, torch.float64)
    one, two = images(1, seed=5, dtype=torch.float64), images(2, seed=6, dtype=torch.float64)
    both = localizer(torch.cat([one, two]), top=2)
    parts = [tensors(localizer(part, top=2)) for part in (one, two)]
    same(both, {key: torch.cat([part[key] for part in parts]) for key in parts[0]})


@METHOD
def test_several_classes_are_those_of_a_call_for_each(method):
    localizer = localizer_of("resnet", torch.float64, refine=method)
    batch = images(3, dtype=torch.float64)
    found = localizer(batch, top=3)
    assert torch.equal(found.labels, found.logits.topk(3).indices)
    assert_close(found.scores, found.logits.softmax(1).topk(3).values)
    same(localizer(batch, found.labels), found)
    for k in range(3):
        one = tensors(localizer(batch, found.labels[:, k]))
        whole = tensors(found)
        assert_close(one.pop("logits"), whole.pop("logits"))
        assert_close(one, {key: value[:, k : k + 1] for key, value in whole.items()})


def test_labels_in_every_form():
    localizer = Localizer(build())
    found = localizer(IMAGES, 4)
    exactly_same(localizer(IMAGES, torch.tensor([4, 4])), found)
    exactly_same(localizer(IMAGES, torch.tensor([[4], [4]])), found)
    exactly_same(localizer(IMAGES, torch.tensor([[4]]).expand(2, 1)), found)
    twice = localizer(IMAGES, torch.tensor([[4, 4], [4, 4]]))
    assert torch.equal(twice.maps[:, 0], twice.maps[:, 1])
    exactly_same(localizer(IMAGES, None, 1), localizer(IMAGES))


@given(seed=SEEDS, how=FLIPS, method=st.sampled_from(["scg", "gppl", "confseg", "cam"]))
def test_a_mirrored_image_gives_mirrored_maps(seed, how, method):
    """If the network itself has that symmetry: it sees one cell at a time."""
    model = seeded(
        lambda: nn.Sequential(
            *(nn.AvgPool2d(8), nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.Linear(6, CLASSES)),
        )
    ).double()
    batch = images(2, (48, 48), seed, torch.float64)
    localizer = Localizer(model, refine=method, parts="all")
    found, mirrored = localizer(batch, 1), localizer(flip(batch, how), 1)
    assert_close(mirrored.maps, flip(found.maps, how))
    differ = mirrored.masks != flip(found.masks, how)
    assert not (differ & ((mirrored.maps - found.threshold).abs() > 1e-9)).any()


@given(seed=SEEDS, power=st.integers(-3, 3), method=st.sampled_from(["scg", "sem", "cam"]))
def test_the_scale_of_images_does_not_matter_to_a_network_without_biases(seed, power, method):
    model = seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 6, 8, 8, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.Linear(6, CLASSES, bias=False)),
        )
    )
    batch, localizer = images(seed=seed), Localizer(model, refine=method)
    found, scaled = localizer(batch, 1), localizer(batch * 2.0**power, 1)
    for key in ("maps", "masks", "boxes", "coarse"):
        assert_close(getattr(scaled, key), getattr(found, key))
    assert_close(scaled.logits, found.logits * 2.0**power)


def layouts(tensor):
    yield tensor.mT.contiguous().mT
    yield torch.stack([tensor, tensor], -1)[..., 0]
    yield torch.cat([tensor, tensor])[: len(tensor)]
    yield tensor.to(memory_format=torch.channels_last)


def test_memory_layout_does_not_matter():
    localizer = Localizer(build("resnet").double())
    batch = images(dtype=torch.float64)
    for layout in layouts(batch):
        same(localizer(layout), localizer(batch))
    wide = batch[:1].expand(3, -1, -1, -1)
    same(localizer(wide), localizer(wide.clone()))


# Degenerate inputs --------------------------------------------------------------------------------


@METHOD
@pytest.mark.parametrize("name", ["resnet", "vit"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")], ids=str)
def test_an_image_that_is_not_finite_leaves_the_others_as_they_are(name, method, bad):
    localizer, batch = localizer_of(name, refine=method), images(3)
    clean = localizer(batch, 2)
    batch[1, 0, 3, 4] = bad
    found = localizer(batch, 2)
    for index in (0, 2):
        for key, value in tensors(found).items():
            assert torch.equal(value[index], tensors(clean)[key][index]), key
    assert not found.masks[1].any()
    assert not found.boxes[1].any()
    assert found.coarse.isfinite().all()
    assert found.scores[1].isnan().all()


@METHOD
def test_constant_images(method):
    found = localizer_of("resnet", refine=method)(torch.full((1, 3, SIDE, SIDE), 0.5))
    assert found.maps.isfinite().all()
    assert 0 <= found.maps.min() <= found.maps.max() <= 1


def test_a_constant_map_has_no_object():
    """All of SCG, whose map is zero where the CAM knows nothing."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)
    )
    found = Localizer(model)(torch.zeros(1, 3, SIDE, SIDE))
    assert not found.maps.any()
    assert not found.boxes.any()


@METHOD
@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_an_empty_batch(name, method):
    localizer = localizer_of(name, refine=method)
    full, none = localizer(IMAGES, top=2), localizer(IMAGES[:0], top=2)
    assert len(none) == 0
    for key, value in tensors(full).items():
        empty = tensors(none)[key]
        assert (empty.shape, empty.dtype) == ((0, *value.shape[1:]), value.dtype)
    exactly_same(localizer(IMAGES[:0], torch.zeros(0, 2, dtype=torch.int64)), none)
    assert localizer(IMAGES[:0], 3).labels.shape == (0, 1)


@METHOD
def test_images_of_one_pixel(method):
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES)
        )
    )
    layers = Layers(("0",), "0", None)
    for size in ((1, 1), (1, 5)):
        found = Localizer(model, refine=method, layers=layers)(torch.rand(2, 3, *size))
        assert found.maps.shape == (2, 1, *size)
        assert found.maps.isfinite().all()
    with pytest.raises(ValueError, match="model: expected a layer whose output is a map"):
        Localizer(model, refine=method)(torch.rand(2, 3, 1, 1))


def test_a_model_without_parameters():
    model = nn.Sequential(nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    localizer = Localizer(model, layers=Layers(("0",), "0", None), preprocess=Preprocess((32, 32)))
    assert localizer.device == torch.device("cpu")
    assert localizer(IMAGES).maps.shape == (2, 1, SIDE, SIDE)
    assert localizer(photograph(20, 10)).maps.shape == (1, 1, 10, 20)
    with pytest.raises(ValueError, match="model: expected a layer whose output is a map"):
        Localizer(model)(IMAGES)


@METHOD
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_dtype_of_the_images_is_kept(method, dtype):
    exact = localizer_of("resnet", refine=method)(IMAGES, 1)
    found = localizer_of("resnet", dtype, refine=method)(IMAGES.to(dtype), 1)
    for key in ("scores", "maps", "coarse", "logits"):
        assert getattr(found, key).dtype == dtype
    assert (found.masks.dtype, found.boxes.dtype) == (torch.bool, torch.float32)
    assert found.maps.isfinite().all()
    if method in ("scg", "cam"):
        away = (found.maps.float() - exact.maps).abs().mean()
        assert away < (1e-6 if dtype == torch.float64 else 0.05)


# A model is left as it was ------------------------------------------------------------------------


def state(model):
    return {
        "training": [part.training for part in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [parameter.grad for parameter in model.parameters()],
        "hooks": [len(part._forward_hooks) + len(part._backward_hooks) for part in model.modules()],
    }


@pytest.mark.parametrize("name", ["resnet", "vgg", "vit"])
def test_the_model_is_left_as_it_was(name):
    model = build(name)
    quiet = Localizer(copy.deepcopy(model))(IMAGES, 3)
    model.train()
    next(model.children()).eval()
    next(model.parameters()).requires_grad_(False)
    before, weights = state(model), copy.deepcopy(model.state_dict())
    localizer = Localizer(model)
    assert state(model) == before
    batch = IMAGES.clone().requires_grad_()
    found = localizer(batch, 3)
    exactly_same(found, quiet)
    assert state(model) == before
    assert_close(dict(model.state_dict()), dict(weights), rtol=0, atol=0)
    assert batch.grad is None
    assert torch.equal(batch, IMAGES)
    assert not any(value.requires_grad for value in tensors(found).values())
    assert torch.is_grad_enabled()
    with pytest.raises(ValueError, match="labels"):
        localizer(batch, CLASSES)
    assert state(model) == before


@pytest.mark.parametrize("name", ["resnet", "vgg", "vit"])
def test_frozen_weights(name):
    found = Localizer(build(name).requires_grad_(False))(IMAGES, 3)
    exactly_same(found, localizer_of(name)(IMAGES, 3))


# Every way to run ---------------------------------------------------------------------------------


def every_form_of_labels():
    return [None, 3, torch.tensor([3, 1]), torch.tensor([[3, 1], [0, 2]])]


@FAMILY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_runs_without_gradients(name, mode):
    localizer = localizer_of(name)
    usual = [localizer(IMAGES, labels) for labels in every_form_of_labels()]
    with mode():  # images and labels are made inside, as a loop over batches does
        found = [localizer(IMAGES.clone(), labels) for labels in every_form_of_labels()]
        fresh = Localizer(localizer.model)(IMAGES.clone(), every_form_of_labels()[1])
    for one, other in zip([*found, fresh], [*usual, usual[1]], strict=True):
        exactly_same(one, other)
    exactly_same(localizer(IMAGES, 3), usual[1])


def test_what_was_found_in_inference_mode_can_be_used_outside():
    localizer = Localizer(build("vgg"), refine="sem")
    with torch.inference_mode():
        found = localizer(IMAGES.clone(), 3)
    exactly_same(found.at(0.1).at(found.threshold), found)
    found.plot()


@FAMILY
def test_runs_under_autocast(name):
    usual, localizer = localizer_of(name), Localizer(build(name))
    expected = usual(IMAGES, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = localizer(IMAGES, 1)
    assert localizer.title == usual.title  # the same layers: they are kept for later calls
    for key in ("maps", "coarse"):
        assert getattr(found, key).dtype == torch.float32
    assert found.maps.isfinite().all()
    if name not in ("vgg", "mobilenet"):  # untrained and deep: signals as small as the rounding
        assert (found.maps - expected.maps).abs().mean() < 0.1
    exactly_same(localizer(IMAGES, 1), expected)


@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_to_device(name, device):
    localizer = Localizer(build(name), preprocess=Preprocess((SIDE, SIDE))).to(device)
    assert localizer.device.type == device.type
    found = localizer(IMAGES.to(device), top=2)
    for value in tensors(found).values():
        assert value.device.type == device.type
    on_cpu = found.to("cpu")
    assert all(value.device.type == "cpu" for value in tensors(on_cpu).values())
    assert_close(on_cpu.logits, Localizer(build(name))(IMAGES, top=2).logits, rtol=1e-3, atol=1e-3)
    # Labels of PIL images may lie anywhere.
    labels = torch.tensor([1, 2])
    one, two = localizer([photograph(30, 20), photograph(10, 20, 1)], labels)
    assert (one.labels.item(), two.labels.item()) == (1, 2)
    assert one.maps.device.type == device.type
    if device.type != "cpu":
        found.plot()


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "torch.save": saved,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize(
    ("how", "method"),
    [*(("pickle", name) for name in THRESHOLDS), *((how, "scg") for how in COPIES)],
)
def test_copies(how, method):
    """Also after images were seen, with the layers that were found."""
    localizer = Localizer(
        Classifier(build("resnet"), Preprocess((SIDE, SIDE)), NAMES, "small"),
        refine=method, threshold=0.3, parts="all",
    )  # fmt: skip
    before = COPIES[how](localizer)
    found = localizer(IMAGES, top=2)
    after = COPIES[how](localizer)
    for other in (before, after):
        exactly_same(other(IMAGES, top=2), found)
        assert other.title == localizer.title
        assert other.class_names == NAMES
        assert other.preprocess == localizer.preprocess
    after.model.conv1.weight.data.zero_()
    exactly_same(localizer(IMAGES, top=2), found)
    exactly_same(COPIES[how](found), found)


def test_a_state_dict_moves_the_weights():
    localizer, other = Localizer(build("resnet")), Localizer(seeded(type(build("resnet")), seed=3))
    other.load_state_dict(localizer.state_dict())
    exactly_same(other(IMAGES), localizer(IMAGES))


@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_a_loop_over_a_data_loader(name):
    data = TensorDataset(images(5), torch.arange(5))
    localizer = Localizer(build(name))
    found = [localizer(batch, labels) for batch, labels in DataLoader(data, 2, num_workers=0)]
    assert [len(one) for one in found] == [2, 2, 1]
    whole = tensors(localizer(*data.tensors))
    for key, value in whole.items():
        assert_close(torch.cat([getattr(one, key) for one in found]), value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet", "vgg"])
def test_a_lightning_module_predicts(name):
    """The trainer makes batches, labels among them, in inference mode."""
    from lightning import LightningModule

    from tests.support.small_recipes import quiet_trainer

    class Predictor(LightningModule):
        def __init__(self):
            super().__init__()
            self.localizer = Localizer(build(name))

        def predict_step(self, batch, index):
            return self.localizer(*batch)

    predictor = Predictor()
    predictor.localizer.model.train()
    before = state(predictor)
    labels = torch.tensor([[3, 1], [0, 2], [1, 1]])
    data = TensorDataset(images(3), labels)
    with quiet_trainer() as trainer:
        one, two = trainer.predict(predictor, DataLoader(data, batch_size=2))
    assert type(one) is type(two) is Localization
    exactly_same(one, predictor.localizer(images(3)[:2], labels[:2]))
    exactly_same(two, predictor.localizer(images(3)[2:], labels[2:]))
    assert state(predictor) == before


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_compiled_models():
    whole, inside = torch.compile(build("resnet"), backend="eager"), build("resnet")
    inside.compile(backend="eager")
    for model in (whole, inside):
        model(IMAGES)  # compiled before any hook
        same(Localizer(model)(IMAGES), localizer_of("resnet")(IMAGES))


class Wrapped(nn.Module):
    def __init__(self, change, name="resnet"):
        super().__init__()
        self.network, self.change = build(name), change

    def forward(self, x):
        return self.change(self.network(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: {"logits": logits},
        lambda logits: {"hidden": None, "out": logits},
        lambda logits: (logits, logits.mean()),
        lambda logits: (logits.mean(), logits),
        lambda logits: [logits],
    ],
)
def test_models_that_return_more_than_logits(change):
    exactly_same(Localizer(Wrapped(change))(IMAGES), localizer_of("resnet")(IMAGES))


@pytest.mark.parametrize(
    "change", [lambda logits: None, lambda logits: logits[0], lambda logits: {"text": "cat"}]
)
def test_models_that_return_no_logits(change):
    with pytest.raises(ValueError, match="model: expected logits of shape"):
        Localizer(Wrapped(change))(IMAGES)


def test_a_data_parallel_model():
    exactly_same(
        Localizer(nn.DataParallel(build("resnet")))(IMAGES), Localizer(build("resnet"))(IMAGES)
    )


# Layers -------------------------------------------------------------------------------------------


def test_layers_are_found_once_for_each_size(monkeypatch):
    model, runs, searches = build("resnet"), [], []
    model.register_forward_hook(lambda *_: runs.append(1))

    def counting(*arguments, **options):
        searches.append(1)
        return find_layers(*arguments, **options)

    monkeypatch.setattr(module, "find_layers", counting)
    localizer = Localizer(model)
    localizer(IMAGES)
    assert len(searches) == 1
    first = len(runs)
    for batch in (IMAGES, images(5), images(1, seed=9)):
        localizer(batch, top=2)
    assert (len(searches), len(runs)) == (1, first + 3)  # one run a batch
    localizer(images(2, (SIDE, 96)))
    localizer(IMAGES)
    assert len(searches) == 2
    pickle.loads(pickle.dumps(Localizer(build())))
    Localizer(model, layers=find_layers(model, IMAGES))(IMAGES)
    assert len(searches) == 2


def test_layers_may_be_given():
    model = build("resnet")
    layers = find_layers(model, IMAGES)
    found = Localizer(model)(IMAGES)
    exactly_same(Localizer(model, layers=layers)(IMAGES), found)
    exactly_same(Localizer(model, layers=layers.features)(IMAGES), found)
    exactly_same(Localizer(model, layers=list(layers.features))(IMAGES), found)
    other = Localizer(model, refine="scg", layers=["layer1", "layer3"])
    assert other(IMAGES).coarse.shape[2:] == (SIDE // 4, SIDE // 4)
    assert other.title == "ResNet, scg on layer1, layer3"
    grad = Localizer(model, layers=layers._replace(head=None))(IMAGES)
    assert_close(grad.coarse, found.coarse, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ("layer3", TypeError, "layers: expected a list of strings, got str"),
        (3, TypeError, "layers: expected a list of strings, got int"),
        (["layer9"], ValueError, r"layers: expected names from model.named_modules\(\), got 'lay"),
        (
            ["fc"],
            ValueError,
            r"layers: expected a map of the image from 'fc' .* got \(B, 10\), with",
        ),
        ([], ValueError, r"layers: expected at least one name, got \[\]"),
        (Layers(("layer3",), "layer9", None), ValueError, "layers: expected names from model"),
    ],
)
def test_wrong_layers(layers, error, message):
    with pytest.raises(error, match=message):
        Localizer(build("resnet"), layers=layers)(IMAGES)


def test_to_map():
    """The layout of tokens may be told instead of inferred."""
    to_map = partial(tokens_to_map, num_prefix_tokens=5)
    model = build("vit registers")
    localizer = Localizer(model, to_map=to_map)
    exactly_same(localizer(IMAGES), Localizer(model)(IMAGES))
    exactly_same(pickle.loads(pickle.dumps(localizer))(IMAGES), localizer(IMAGES))


def test_to_map_that_transposes_the_grid_is_refused():
    to_map = partial(tokens_to_map, num_prefix_tokens=5)
    turned = Localizer(build("vit registers"), to_map=lambda tokens: to_map(tokens).mT)
    with pytest.raises(ValueError, match="changed where the image did not"):
        turned(IMAGES)


def test_the_title():
    localizer = Localizer(build("resnet"), refine="sem")
    assert localizer.title == "ResNet, sem"
    localizer(IMAGES)
    assert localizer.title == "ResNet, sem on layer2, layer3"
    assert Localizer(Classifier(build(), Preprocess(), None, "mine")).title == "mine, balanced"


def test_the_number_of_classes_is_known_after_the_first_images():
    localizer = Localizer(build())
    assert localizer.num_classes is None
    localizer(IMAGES)
    assert localizer.num_classes == CLASSES


# PIL images ---------------------------------------------------------------------------------------

MODES = ["RGB", "RGBA", "CMYK", "P", "L", "LA", "1", "I", "F", "HSV", "YCbCr"]


def for_photographs(name="plain", **options):
    return Localizer(build(name), preprocess=Preprocess((SIDE, SIDE)), **options)


@pytest.mark.parametrize("mode", MODES)
def test_pil_images_of_every_mode(mode):
    localizer, image = for_photographs(), photograph(50, 30, mode=mode)
    found = localizer(image)
    assert type(found) is Localization
    assert found.maps.shape == found.masks.shape == (1, 1, 30, 50)
    assert found.images.mode == "RGB"
    pixels = localizer.prepare_image(found.images)[None]
    exactly_same(found, localizer(pixels, size=(30, 50)))
    if mode in ("RGB", "L", "LA", "RGBA"):  # these lose nothing
        assert_close(found.maps, localizer(photograph(50, 30)).maps, rtol=0, atol=0.1)


def test_16_bits_are_stretched():
    gray = photograph(50, 30, mode="L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 3 + 1000)
    flat = np.asarray(gray).astype(float)
    flat = ((flat - flat.min()) * 255 / (flat.max() - flat.min()) + 0.5).astype(np.uint8)
    exactly_same(for_photographs()(deep), for_photographs()(Image.fromarray(flat)))


def test_a_list_of_pil_images_gives_a_result_for_each():
    localizer = for_photographs(threshold=0.5)
    some = [photograph(50, 30), photograph(20, 90, 1), photograph(1, 1, 2), photograph(1200, 4, 3)]
    found = localizer(some, top=2)
    assert [one.maps.shape for one in found] == [(1, 2, i.height, i.width) for i in some]
    for one, image in zip(found, some, strict=True):
        assert one.images is image
        same(one, localizer(image, top=2), rtol=1e-4, atol=1e-4)
    assert [type(one) for one in localizer(tuple(some))] == [Localization] * 4
    assert localizer([]) == []
    assert [one.maps.shape for one in localizer(some[:2], size=(7, 9))] == [(1, 1, 7, 9)] * 2


@pytest.mark.parametrize("together", [True, False])
def test_labels_of_pil_images(together):
    def preprocess(image):
        side = SIDE if together else 32 * (1 + image.width // 30)
        return Preprocess((SIDE, side))(image)

    localizer = Localizer(build(), preprocess=preprocess)
    some = [photograph(50, 30), photograph(20, 40, 1)]
    assert [one.labels.tolist() for one in localizer(some, 3)] == [[[3]], [[3]]]
    each = localizer(some, torch.tensor([3, 1]))
    assert [one.labels.tolist() for one in each] == [[[3]], [[1]]]
    several = localizer(some, torch.tensor([[3, 1], [2, 2]]))
    assert [one.labels.tolist() for one in several] == [[[3, 1]], [[2, 2]]]
    wrong = [
        (torch.tensor([1, 2, 3]), ValueError, r"shape .* with B=2 from images, got \(3,\)"),
        (torch.tensor([1]), ValueError, r"shape .* with B=2 from images, got \(1,\)"),
        (torch.tensor(1), ValueError, r"shape .* got \(\)"),
        (torch.tensor([1, 99]), ValueError, "class indices from 0 to 9, got 99"),
        (99, ValueError, "class indices from 0 to 9, got 99"),
        ([1, 2], TypeError, "a list of class indices, got int"),
        (np.array([1, 2]), TypeError, "a torch.Tensor, got ndarray"),
        (True, TypeError, "dtype torch.int64, got torch.bool"),
    ]
    for labels, error, message in wrong:
        with pytest.raises(error, match=rf"^labels(\[0\])?: expected {message}"):
            localizer(some, labels)


def test_boxes_are_in_pixels_of_the_photograph():
    """A bright square, and a network that sees only brightness."""
    model = nn.Sequential(
        nn.Conv2d(3, 2, 4, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    for parameter in model.parameters():
        parameter.data.fill_(1)
    preprocess = Preprocess((64, 64), mean=(0, 0, 0), std=(1, 1, 1))
    localizer = Localizer(model, refine="cam", threshold=0.5, preprocess=preprocess)
    image = Image.new("RGB", (640, 320))
    image.paste((255, 255, 255), (160, 80, 400, 240))
    assert_close(localizer(image).boxes[0, 0], torch.tensor([160.0, 80, 400, 240]), rtol=0, atol=1)


def test_photographs_reach_the_model_in_its_precision():
    exact = for_photographs()(photograph(50, 30))
    for dtype in (torch.float64, torch.float16):
        found = for_photographs().to(dtype)(photograph(50, 30))
        assert found.maps.dtype == dtype
        assert_close(found.logits.float(), exact.logits, rtol=1e-2, atol=1e-2)


def test_one_result_does_not_keep_the_whole_list():
    sizes = []
    for number in (1, 30):
        found = for_photographs()([photograph(20, 20) for _ in range(number)])
        sizes.append(len(pickle.dumps(found[0])))
    assert sizes[0] == sizes[1]


def test_images_that_need_a_preprocessing_and_have_none():
    localizer = Localizer(build())
    message = r"^preprocess: expected one .* such as Preprocess\(\(224, 224\)\), got None"
    for call in (localizer, localizer.prepare_image, lambda image: localizer([image])):
        with pytest.raises(ValueError, match=message):
            call(photograph(20, 10))


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (np.zeros((3, 8, 8)), "ndarray"),
        (torch.zeros(1, 3, 8, 8), r"\(1, 3, 8, 8\)"),
        (None, "None"),
    ],
)
def test_a_preprocessing_that_returns_something_else(result, got):
    localizer = Localizer(build(), preprocess=lambda image: result)
    with pytest.raises(ValueError, match=rf"^preprocess: expected .* \(3, H, W\), got {got}"):
        localizer(photograph(20, 10))


def test_the_preprocessing_of_a_timm_model_is_read():
    model = build()
    model.pretrained_cfg = {
        "input_size": (3, 32, 48), "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
    }  # fmt: skip
    preprocess = Preprocess((32, 48), (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "bicubic")
    image = photograph(50, 30)
    assert Localizer(model).preprocess == preprocess
    exactly_same(Localizer(model)(image), Localizer(build(), preprocess=preprocess)(image))
    assert Localizer(model, preprocess=Preprocess()).preprocess == Preprocess()


class Stretched(nn.Sequential):
    """A preprocessing that is a module, and, as an empty sequence of modules, false."""

    def forward(self, image):
        return Preprocess((SIDE, SIDE))(image)


def test_a_classifier_brings_preprocessing_and_names():
    classifier = Classifier(build(), Preprocess((SIDE, SIDE)), NAMES, "pets")
    localizer = Localizer(classifier)
    found = localizer(photograph(50, 30))
    exactly_same(found, for_photographs()(photograph(50, 30)))
    assert found.class_names == NAMES
    assert localizer.name == "pets"
    assert Localizer(classifier, class_names=["a"]).class_names == ["a"]
    own = Localizer(classifier, preprocess=Stretched())
    assert isinstance(own.preprocess, Stretched)
    exactly_same(own(photograph(50, 30)), found)


def test_open_turns_a_photograph_upright(tmp_path):
    localizer, image = for_photographs(), photograph(60, 40, 2)
    image.save(tmp_path / "upright.png")
    turned, exif = image.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    found = localizer.open(tmp_path / "turned.png", top=2)
    assert found.maps.shape == (1, 2, 40, 60)
    exactly_same(found, localizer.open(str(tmp_path / "upright.png"), top=2))
    exactly_same(found, localizer(image, top=2))
    with Image.open(tmp_path / "turned.png") as stored:
        assert localizer(stored).maps.shape == (1, 1, 60, 40)  # in the orientation that it has
    labels = torch.tensor([[2, 5]])
    exactly_same(localizer.open(tmp_path / "upright.png", labels), localizer(image, labels))
    exactly_same(localizer.open(tmp_path / "upright.png", 2), localizer(image, 2))


def test_files_that_hold_no_image(tmp_path):
    localizer = for_photographs()
    (tmp_path / "text.png").write_text("this is no image")
    with pytest.raises(ValueError, match=r"text.png: expected an image, got another kind"):
        localizer.open(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        localizer.open(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (IMAGES.numpy(), "ndarray"),
        ([IMAGES[0].numpy()], "ndarray"),
        ([photograph(5, 5), IMAGES[0]], "tensors in a list"),
        (list(IMAGES), "tensors in a list"),
        ("photo.jpg", "str"),
        ("", "str"),
        (b"photo", "bytes"),
        ((image for image in [photograph(5, 5)]), "generator"),
        (None, "None"),
        (3, "int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images_of_another_kind(wrong, got):
    with pytest.raises(TypeError, match=f"^images: expected .*tensor or PIL images, got {got}"):
        for_photographs()(wrong)


# Wrong arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ((IMAGES * 255).byte(), TypeError, "a floating-point dtype, got torch.uint8"),
        (IMAGES[0], ValueError, r"shape \(B, 3, H, W\), got \(3, 64, 64\)"),
        (IMAGES[:, :1], ValueError, r"shape \(B, 3, H, W\), got \(2, 1, 64, 64\)"),
        (IMAGES[..., :0], ValueError, r"shape \(B, 3, H, W\) with W >= 1, got \(2, 3, 64, 0\)"),
    ],
)
def test_wrong_images(wrong, error, message):
    with pytest.raises(error, match=f"^images: expected {message}"):
        Localizer(build())(wrong)


@pytest.mark.parametrize("name", ["plain", "vgg"])
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([1, 2], TypeError, "a list of class indices, got int"),
        (np.array([1, 2]), TypeError, "a torch.Tensor, got ndarray"),
        (True, TypeError, "dtype torch.int64, got torch.bool"),
        (1.0, TypeError, "a torch.Tensor, got float"),
        (torch.tensor([1, 2]).int(), TypeError, "dtype torch.int64, got torch.int32"),
        (torch.tensor([1.0, 2.0]), TypeError, "dtype torch.int64, got torch.float32"),
        (torch.tensor(1), ValueError, r"shape \(B,\) or \(B, K\) with B=2 from images, got \(\)"),
        (torch.tensor([1]), ValueError, r"shape .* got \(1,\)"),
        (torch.zeros(2, 0, dtype=torch.int64), ValueError, r"shape .* got \(2, 0\)"),
        (torch.tensor([1, 2], device="meta"), ValueError, "cpu as images, got meta"),
        (CLASSES, ValueError, "class indices from 0 to 9, got 10"),
        (-1, ValueError, "class indices from 0 to 9, got -1"),
        (torch.tensor([1, 99]), ValueError, "class indices from 0 to 9, got 99"),
    ],
)
def test_wrong_labels(name, labels, error, message):
    with pytest.raises(error, match=rf"^labels(\[0\])?: expected {message}"):
        localizer_of(name)(IMAGES, labels)


@pytest.mark.parametrize("top", [0, -1, CLASSES + 1])
def test_wrong_top(top):
    localizer = for_photographs()
    for wrong in (IMAGES, photograph(9, 9)):
        with pytest.raises(ValueError, match=f"^top: expected an integer from 1 to 10, got {top}"):
            localizer(wrong, top=top)


@pytest.mark.parametrize(
    "size", [(0, 1), (-1, 4), (1.5, 2.0), (64.0, 64.0), (7,), (7, 8, 9), 7, (), "ab"], ids=repr
)
def test_wrong_size(size):
    localizer = for_photographs()
    for wrong in (IMAGES, photograph(9, 9), [photograph(9, 9)]):
        with pytest.raises(
            (TypeError, ValueError), match=r"^size: expected \(height, width\), two"
        ):
            localizer(wrong, size=size)


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (None, "None"),
        ("resnet", "str"),
        (type(build()), "type"),
        (lambda x: x, "function"),
        (Localizer(build()), "Localizer, which is a localizer already"),
    ],
    ids=["None", "str", "type", "function", "localizer"],
)
def test_wrong_models(model, got):
    message = f"^model: expected an nn.Module or a Classifier, got {got}$"
    with pytest.raises(TypeError, match=message):
        Localizer(model)
    with pytest.raises(TypeError, match=message):
        localize(model, IMAGES)


@pytest.mark.parametrize(
    ("threshold", "error"),
    [
        *((value, ValueError) for value in (1, 1.0, -0.1, float("nan"), float("inf"))),
        *((value, TypeError) for value in ("0.5", 1j, torch.tensor([0.1, 0.2]), [0.5])),
    ],
    ids=repr,
)
def test_wrong_thresholds(threshold, error):
    message = r"^threshold: expected a number in \[0, 1\), got "
    with pytest.raises(error, match=message):
        Localizer(build(), threshold=threshold)
    localizer = Localizer(build())
    found = localizer(IMAGES)
    localizer.threshold = threshold
    with pytest.raises(error, match=message):
        localizer(IMAGES)
    with pytest.raises(error, match=message):
        found.at(threshold)


def test_wrong_parts():
    message = "^parts: expected 'largest', 'all' or 'instances', got 'biggest'"
    with pytest.raises(ValueError, match=message):
        Localizer(build(), parts="biggest")
    localizer = Localizer(build())
    localizer.parts = "biggest"
    with pytest.raises(ValueError, match=message):
        localizer(IMAGES)


# One call -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"refine": "sem"}, {"refine": scg, "threshold": 0.6}, {"parts": "all", "layers": ["0"]}],
)
def test_localize_is_a_localizer_called_once(options):
    model, labels = build(), torch.tensor([[1, 2], [3, 4]])
    exactly_same(localize(model, IMAGES, **options), Localizer(model, **options)(IMAGES))
    exactly_same(
        localize(model, IMAGES, top=3, **options), Localizer(model, **options)(IMAGES, top=3)
    )
    exactly_same(
        localize(model, IMAGES, labels, **options), Localizer(model, **options)(IMAGES, labels)
    )
    exactly_same(
        localize(model, IMAGES, size=(9, 7), **options),
        Localizer(model, **options)(IMAGES, size=(9, 7)),
    )


def test_localize_takes_a_classifier_and_pil_images():
    classifier = Classifier(build(), Preprocess((SIDE, SIDE)), None, "small")
    image = photograph(40, 30)
    exactly_same(localize(classifier, image, 2), Localizer(classifier)(image, 2))
    exactly_same(localize(classifier, IMAGES), localize(build(), IMAGES))
    with pytest.raises(
        ValueError, match="refine: expected one of fast, balanced, accurate, scg, sem"
    ):
        localize(classifier, image, refine="magic")


def test_class_maps_are_what_the_result_is_made_of():
    localizer = Localizer(build())
    found = localizer(IMAGES, top=2)
    maps = localizer.class_maps(IMAGES, top=2)
    assert_close(tuple(maps), (found.logits, found.labels, found.coarse), rtol=0, atol=0)


def test_the_plain_network_is_what_the_tests_take_it_for():
    layers = find_layers(plain(), IMAGES)
    assert layers == Layers(("1",), "3", "6")


# What a new user tries first ----------------------------------------------------------------------


def test_what_is_no_model_or_no_function_is_named():
    classifier = Classifier(seeded(ResNet), Preprocess((64, 64)), None, "small")
    images = torch.rand(1, 3, 64, 64)
    for call in (
        lambda: class_activation(classifier, images),
        lambda: find_layers(classifier, images),
        lambda: find_stages(classifier, images),
        lambda: capture(classifier, "layer2").__enter__(),
    ):
        with pytest.raises(TypeError, match=r"got Classifier, use its \.model$"):
            call()
    for name in ("preprocess", "to_map"):
        with pytest.raises(TypeError, match=f"^{name}: expected a function or None, got int$"):
            Localizer(classifier, **{name: 224})
    for size in (224, (0, 224), (1, 2, 3)):
        with pytest.raises(
            (TypeError, ValueError), match=r"^size: expected \(height, width\), two"
        ):
            Preprocess(size)
    with pytest.raises(TypeError, match="expected a tensor or PIL images, got ndarray"):
        Localizer(classifier)(images.numpy())


def test_a_short_repr_tells_the_choices():
    localizer = Localizer(seeded(ResNet), refine="sem", parts="all")
    assert "sem, threshold=0.32, parts='all'" in repr(localizer)


def test_scores_are_in_full_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        found = Localizer(seeded(ResNet))(torch.rand(1, 3, 64, 64))
    assert found.scores.dtype == torch.float32


# Never silently wrong ------------------------------------------------------------------------------


def test_a_single_logit_has_the_probability_of_its_sigmoid():
    model = seeded(plain)
    model[-1] = nn.Linear(8, 1)
    found = Localizer(model)(IMAGES)
    assert_close(found.scores, found.logits.sigmoid())
    assert found.scores.max() < 1
    with pytest.raises(ValueError, match=r"^labels: expected class indices from 0 to 0, got 1"):
        Localizer(model)(IMAGES, 1)


@pytest.mark.parametrize("labels", [3, torch.tensor([3, 4])])
def test_labels_and_top_together_are_a_mistake(labels):
    for call in (Localizer(build()), partial(class_activation, build())):
        with pytest.raises(ValueError, match=r"^top: expected none where labels are given, got 5"):
            call(IMAGES, labels=labels, top=5)


@pytest.mark.parametrize("number", [0, CLASSES - 1, CLASSES + 1])
def test_as_many_names_as_classes(number):
    localizer = Localizer(build(), class_names=["name"] * number)
    with pytest.raises(ValueError, match=f"^class_names: expected 10 as .*, got {number}"):
        localizer(IMAGES)


def pixel_values(model, images):
    return model(pixel_values=images)


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = build("resnet")

    def forward(self, *, pixel_values, labels=None):
        return {"features": pixel_values.mean((2, 3)), "logits": self.network(pixel_values)}


def test_how_a_model_is_called_and_read_belongs_to_the_localizer():
    expected = Localizer(build("resnet"))(IMAGES)
    classifier = Classifier(
        Keyword(), Preprocess((SIDE, SIDE)), None, "mine", "logits", pixel_values
    )
    for localizer in (
        Localizer(Keyword()),
        Localizer(Keyword(), logits="logits", call=pixel_values),
        Localizer(classifier),
    ):
        exactly_same(localizer(IMAGES), expected)
        exactly_same(pickle.loads(pickle.dumps(localizer))(IMAGES), expected)
    exactly_same(localize(Keyword(), IMAGES, call=pixel_values, logits="logits"), expected)
    for options, message in (
        ({"logits": 1.5}, "^logits: expected a name, an index, a function or None, got float"),
        ({"call": "pixel_values"}, "^call: expected a function .*, got str"),
    ):
        with pytest.raises(TypeError, match=message):
            Localizer(build(), **options)
