"""The parts of the papers' networks, on unlike backbones."""

import copy
import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tests.references import networks as reference
from tests.support.backbones import BACKBONES, SIDE, one_thread  # noqa: F401
from tests.support.strategies import SEEDS, generator
from tests.support.zoo import seeded
from wsolrefine.nn import (
    ActivationGenerator,
    ConvolutionalHead,
    EdgeHead,
    MFFNet,
    MultiplicativeChannelAttention,
)

CLASSES, WIDTH, GRID = 5, 6, (9, 12)
IMAGES = torch.rand(3, 3, SIDE, SIDE, generator=generator(0))


def randomize(module, seed=0):
    """Draw every weight and every running statistic, so that none is 0 or 1 by initialisation."""
    g = generator(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=g) / 2
            # Biases above 0, so that hardly a ReLU is dead.
            positive = name.endswith(("running_var", "bias"))
            tensor.copy_(values.abs() + 0.5 if positive else values)
    return module


MODULES = {
    "attention": lambda channels: MultiplicativeChannelAttention(channels, width=WIDTH),
    "mff": lambda channels: MFFNet(channels, CLASSES, width=WIDTH),
    "addition": lambda channels: MFFNet(channels, CLASSES, width=WIDTH, fusion="addition"),
    "concatenation": lambda channels: MFFNet(
        channels, CLASSES, width=WIDTH, fusion="concatenation", attention=False
    ),
    "generator": lambda channels: OnStage(
        1, ActivationGenerator(channels[1], CLASSES, width=WIDTH)
    ),
    "head": lambda channels: OnStage(-1, ConvolutionalHead(channels[-1], CLASSES, width=WIDTH)),
    "edges": lambda channels: WithMap(EdgeHead(channels, width=WIDTH, size=GRID)),
}
every_module = pytest.mark.parametrize("name", MODULES)
every_backbone = pytest.mark.parametrize("kind", BACKBONES)


class OnStage(nn.Module):
    """Hand one of the stages to a module that takes one."""

    def __init__(self, stage, module):
        super().__init__()
        self.stage, self.module = stage, module

    def forward(self, features):
        return self.module(features[self.stage])


class WithMap(nn.Module):
    """Hand stages to a module that takes a localization map too: the mean of the deepest stage."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, features):
        return self.module(features, features[-1].detach().mean(1).sigmoid())


def tensors(output):
    return [output] if isinstance(output, torch.Tensor) else list(output)


@functools.cache
def features_of(kind):
    with torch.no_grad():
        return BACKBONES[kind]()(IMAGES)


def built(name, kind):
    features = [maps.clone() for maps in features_of(kind)]
    return seeded(MODULES[name], [maps.shape[1] for maps in features]), features


def expected_shapes(name, features):
    channels, count = [tuple(f.shape) for f in features], len(IMAGES)
    fused = (count, CLASSES, *channels[-3][2:])
    return {
        "attention": channels,
        "generator": [(count, *channels[1][2:]), (count, CLASSES)],
        "head": [(count, CLASSES, *channels[-1][2:])],
        "edges": [(count, *GRID)],
    }.get(name, [fused, fused])


@every_module
@every_backbone
def test_shapes_with_unlike_backbones(name, kind):
    module, features = built(name, kind)
    found = tensors(module(features))
    assert [tuple(one.shape) for one in found] == expected_shapes(name, features)
    assert all(one.isfinite().all() for one in found)


@every_module
@every_backbone
def test_gradients_reach_all_weights_and_the_stages_that_are_used(name, kind):
    module, features = built(name, kind)
    features = [one.clone().requires_grad_() for one in features]
    outputs = tensors(randomize(module).train()(features))
    sum(one.square().sum() for one in outputs).backward()
    missing = [key for key, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    # Batch norm takes the bias of a convolution before it away again.
    assert not [key for key in missing if not key.endswith("bias")]
    used = {"attention": 4, "edges": 4, "generator": 1, "head": 1}.get(name, 3)
    assert sum(one.grad is not None and bool(one.grad.any()) for one in features) == used
    if used == 3:
        assert features[0].grad is None


@every_module
def test_images_of_a_batch_do_not_influence_each_other(name):
    module, features = built(name, "plain")
    whole = tensors(randomize(module)(features))
    for i in range(len(IMAGES)):
        alone = tensors(module([one[i : i + 1] for one in features]))
        for one, other in zip(whole, alone, strict=True):
            assert_close(one[i : i + 1], other)


@every_module
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_finite_and_close(name, dtype):
    module, features = built(name, "plain")
    expected = tensors(module(features))
    features = [one.requires_grad_() for one in features]
    with torch.autocast("cpu", dtype):
        found = tensors(module(features))
    for one, other in zip(found, expected, strict=True):
        assert_close(one.float(), other, rtol=0.05, atol=0.05)
    sum(one.float().square().sum() for one in found).backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@every_module
def test_arguments_and_weights_stay_as_they_were(name):
    module, features = built(name, "plain")
    given_features, weights = copy.deepcopy(features), copy.deepcopy(module.state_dict())
    module(features)
    assert_close(features, given_features, rtol=0, atol=0)
    assert_close(dict(module.state_dict()), dict(weights), rtol=0, atol=0)


@every_module
def test_weights_are_saved_and_loaded(name):
    module, features = built(name, "plain")
    other = seeded(MODULES[name], [one.shape[1] for one in features], seed=1)
    other.load_state_dict(randomize(module, seed=2).state_dict())
    for one, same in zip(tensors(module(features)), tensors(other(features)), strict=True):
        assert_close(one, same, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["attention", "mff", "head", "generator", "edges"])
def test_a_training_batch_of_one_works_or_says_why_not(name):
    """Batch norm over one value has no variance; over one map it has."""
    module, features = built(name, "plain")
    one = [maps[:1] for maps in features]
    if name in ("attention", "mff"):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            module.train()(one)
        module.eval()(one)
    else:
        assert all(output.isfinite().all() for output in tensors(module.train()(one)))


def test_edges_of_a_stage_of_one_pixel_need_two_images_in_training():
    head, features = EdgeHead([4], width=4, size=GRID), [torch.rand(1, 4, 1, 1)]
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        head.train()(features, torch.rand(1, 2, 2))
    assert head.eval()(features, torch.rand(1, 2, 2)).isfinite().all()


def test_without_attention_fusion_trains_on_a_batch_of_one():
    _, features = built("mff", "plain")
    network = MFFNet([8, 12], 2, stages=2, width=4, attention=False).train()
    maps = network([features[1][:1], features[2][:1]])
    assert maps.fused.isfinite().all()


def test_features_of_zeros_give_finite_maps():
    for name in MODULES:
        module, features = built(name, "plain")
        for mode in (module.eval(), module.train()):
            outputs = tensors(mode([torch.zeros_like(one, requires_grad=True) for one in features]))
            assert all(one.isfinite().all() for one in outputs)
            sum(one.sum() for one in outputs).backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


# Against the formulas -----------------------------------------------------------------------------

stage_lists = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4
)


def drawn(shapes, seed):
    g = generator(seed)
    return [torch.randn(2, *shape, generator=g, dtype=torch.float64) for shape in shapes]


@given(shapes=stage_lists, width=st.integers(1, 4), seed=SEEDS)
def test_attention_is_the_formula(shapes, width, seed):
    channels, features = [shape[0] for shape in shapes], drawn(shapes, seed)
    module = MultiplicativeChannelAttention(channels, width=width)
    randomize(module, seed).double().eval()
    expected = reference.channel_attention(
        [one.numpy() for one in features], reference.arrays(module)
    )
    for one, other in zip(module(features), expected, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, rtol=1e-9, atol=1e-12)


@settings(max_examples=15)
@given(
    shapes=stage_lists,
    stages=st.integers(1, 4),
    fusion=st.sampled_from(["multiplication", "addition", "concatenation"]),
    attention=st.booleans(),
    seed=SEEDS,
)
def test_fusion_is_the_formula(shapes, stages, fusion, attention, seed):
    stages = min(stages, len(shapes))
    module = MFFNet(
        [shape[0] for shape in shapes],
        3,
        stages=stages,
        fusion=fusion,
        attention=attention,
        width=4,
    )
    randomize(module, seed).double().eval()
    features = drawn(shapes, seed)
    found = module(features)
    if stages == 1:
        assert_close(found.fused, found.deep)
    deep, fused = reference.fused_features(
        [one.numpy() for one in features[-stages:]], reference.arrays(module), fusion, attention
    )
    np.testing.assert_allclose(found.deep.detach().numpy(), deep, rtol=1e-9, atol=1e-12)
    if stages > 1:
        np.testing.assert_allclose(found.fused.detach().numpy(), fused, rtol=1e-9, atol=1e-12)


def test_class_maps_are_the_formula():
    head = randomize(ConvolutionalHead(4, CLASSES, width=WIDTH)).double().eval()
    features = drawn([(4, 5, 3)], 0)[0]
    expected = reference.class_maps(features.numpy(), reference.arrays(head))
    np.testing.assert_allclose(head(features).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=15)
@given(
    shapes=stage_lists,
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    width=st.integers(1, 3),
    seed=SEEDS,
)
def test_edges_are_the_formula(shapes, grid, size, width, seed):
    head = EdgeHead([shape[0] for shape in shapes], width=width, size=size)
    randomize(head, seed).double().eval()
    features = drawn(shapes, seed)
    maps = torch.rand(2, *grid, generator=generator(seed), dtype=torch.float64)
    expected = reference.edge_logits(
        [one.numpy() for one in features], maps.numpy(), reference.arrays(head), size
    )
    found = head(features, maps).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_activation_is_the_formula_of_the_last_layers():
    """Eq. 2 after the encoder-decoder, whose layers the paper does not give, and Eq. 4."""
    module = randomize(ActivationGenerator(4, CLASSES, width=WIDTH)).double().eval()
    kept = []
    module.classes.register_forward_hook(lambda *passed: kept.append(passed[2].detach().numpy()))
    found = module(drawn([(4, 7, 6)], 0)[0])
    weights = reference.arrays(module)
    convolved = reference.convolve(kept[0], weights, "activate.0")
    probability = reference.sigmoid(reference.normalize(convolved, weights, "activate.1"))
    logits = reference.convolve(kept[0], weights, "auxiliary").mean((2, 3))
    np.testing.assert_allclose(found.probability.detach().numpy(), probability[:, 0], rtol=1e-9)
    np.testing.assert_allclose(found.auxiliary_logits.detach().numpy(), logits, rtol=1e-9)
    assert kept[0].shape == (2, CLASSES, 7, 6)


def test_activation_with_channels_of_its_own():
    """As many as classes, unless they are set; without classes there is no auxiliary head."""
    (features,) = drawn([(4, 7, 6)], 0)
    features = features.float()
    for classes, inner, channels in ((CLASSES, None, CLASSES), (CLASSES, 5, 5), (None, 5, 5)):
        module = ActivationGenerator(4, classes, inner_channels=inner, width=WIDTH).eval()
        found = module(features)
        assert module.activate[0].in_channels == channels
        assert found.probability.shape == (2, 7, 6)
        if classes is not None:
            assert found.auxiliary_logits.shape == (2, CLASSES)
    assert found.auxiliary_logits is None
    assert not any("auxiliary" in key for key in module.state_dict())
    assert ActivationGenerator(4).activate[0].in_channels == 16


def test_without_classes_the_probability_is_the_same():
    made = [seeded(ActivationGenerator, 4, n, inner_channels=5, width=WIDTH) for n in (None, 3)]
    alone, both = (module.eval()(torch.rand(2, 4, 5, 5, generator=generator(0))) for module in made)
    assert_close(alone.probability, both.probability, rtol=0, atol=0)


# What the modules are for -------------------------------------------------------------------------


def test_a_dead_stage_stops_the_product_but_not_the_sum():
    channels, features = [4, 8], drawn([(4, 4, 4), (8, 2, 2)], 0)
    for fusion, alike in (("multiplication", True), ("addition", False)):
        module = MFFNet(channels, 1, stages=2, fusion=fusion, attention=False, width=4)
        randomize(module).double().eval()
        with torch.no_grad():
            module.reduce[1][1].bias.fill_(-1e9)  # the ReLU after it is zero everywhere
        fused = module(features).fused
        bias = module.head[1].bias
        assert torch.allclose(fused, bias[:, None, None].expand_as(fused)) is alike


def test_attention_lies_between_closed_and_open():
    """A sigmoid weighs: signs stay, nothing grows."""
    features = drawn([(4, 4, 4), (8, 2, 2)], 0)
    module = randomize(MultiplicativeChannelAttention([4, 8], width=4)).double().eval()
    for weighted, stage in zip(module(features), features, strict=True):
        ratio = weighted / stage
        assert (ratio > 0).all()
        assert (ratio < 1).all()
        assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


def test_the_edge_head_is_the_paper_s():
    """Sec. 4.1.3: 3x3 to 128 channels with batch norm, a grid of 160, one more input, 3 layers."""
    head = EdgeHead([4, 8])
    for number, adapt in zip((4, 8), head.adapt, strict=True):
        assert [type(layer) for layer in adapt] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert adapt[0].weight.shape == (128, number, 3, 3)
        assert adapt[0].bias is None
    top = [layer.weight.shape for layer in head.read if isinstance(layer, nn.Conv2d)]
    assert top == [(128, 257, 3, 3), (128, 128, 3, 3), (1, 128, 1, 1)]
    assert head.size == (160, 160)


def test_edges_depend_on_the_map_and_pass_gradients_to_it():
    head = randomize(EdgeHead([4], width=4, size=GRID)).eval()
    features = [torch.rand(2, 4, 5, 5)]
    maps = torch.rand(2, 3, 3, requires_grad=True)
    logits = head(features, maps)
    assert not torch.equal(logits, head(features, torch.zeros(2, 3, 3)))
    logits[0].sum().backward()
    assert maps.grad[0].all()
    assert not maps.grad[1].any()


@pytest.mark.parametrize("name", ["mff", "head"])
def test_dropout_acts_in_training_alone(name):
    module, features = built(name, "plain")
    assert_close(module(features), module(features), rtol=0, atol=0)
    module.train()
    first, second = (tensors(module(features))[0] for _ in range(2))
    assert not torch.equal(first, second)


def test_activation_is_a_probability():
    module = randomize(ActivationGenerator(4, CLASSES, width=WIDTH), 3)
    for mode in (module.eval(), module.train()):
        probability = mode(100 * torch.randn(2, 4, 9, 5)).probability
        assert probability.shape == (2, 9, 5)
        assert 0 <= probability.min() <= probability.max() <= 1


def test_any_grid_down_to_one_pixel():
    for size in [(1, 1), (1, 3), (2, 1), (5, 8)]:
        features = [torch.rand(2, 4, *size), torch.rand(2, 6, 1, 1)]
        for module in (
            MFFNet([4, 6], 2, stages=2, width=4),
            WithMap(EdgeHead([4, 6], width=4, size=size)),
            OnStage(0, ActivationGenerator(4, 2, width=4)),
            OnStage(0, ConvolutionalHead(4, 2, width=4)),
        ):
            outputs = tensors(module.train()(features))
            assert outputs[0].shape[-2:] == size


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiplicativeChannelAttention([]), "channels: expected integers >= 1, got"),
        (lambda: EdgeHead([]), r"channels: expected integers >= 1, got \[\]"),
        (
            lambda: EdgeHead([4], size=(0, 4)),
            r"size: expected .*, two integers >= 1, got \(0, 4\)",
        ),
        (
            lambda: EdgeHead([4], size=(4,)),
            r"size: expected .*, two integers >= 1, got \(4,\)",
        ),
        (lambda: MFFNet([4, 8], 2), "stages: expected an integer from 1 to 2, got 3"),
        (lambda: MFFNet([4], 2, stages=0), "stages: expected an integer from 1 to 1, got 0"),
        (
            lambda: MFFNet([4], 2, stages=1, fusion="product"),
            "fusion: expected 'multiplication', 'addition' or 'concatenation', got 'product'",
        ),
    ],
)
def test_errors_of_constructors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["attention", "mff", "edges"])
def test_wrong_lists_of_stages_raise(name):
    module, features = built(name, "plain")
    with pytest.raises(ValueError, match="features: expected 4 stages, got 3"):
        module(features[1:])
    with pytest.raises(ValueError, match=r"features\[1\]: expected shape \(B, C, h, w\)"):
        module([features[0], features[1][0], *features[2:]])
    with pytest.raises(ValueError, match=r"features\[3\]: expected shape .* with B=3"):
        module([*features[:3], features[3][:1]])


def test_wrong_maps_raise():
    head, features = EdgeHead([4], width=4, size=GRID), [torch.rand(2, 4, 5, 5)]
    with pytest.raises(ValueError, match=r"maps: expected shape \(B, H, W\) with B=2 from feat"):
        head(features, torch.rand(3, 5, 5))
    with pytest.raises(ValueError, match=r"maps: expected shape \(B, H, W\), got \(2, 1, 5, 5\)"):
        head(features, torch.rand(2, 1, 5, 5))
    with pytest.raises(TypeError, match=r"maps: expected a floating-point dtype, got torch\.int64"):
        head(features, torch.ones(2, 5, 5, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"maps: expected torch\.float32 as features\[0\], got"):
        head(features, torch.rand(2, 5, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", ["generator", "head"])
def test_wrong_features_raise(name):
    module, features = built(name, "plain")
    stage = features[module.stage]
    with pytest.raises(ValueError, match=r"features: expected shape \(B, C, h, w\), got"):
        module.module(stage[0])
    with pytest.raises(TypeError, match="features: expected a floating-point"):
        module.module(stage.long())
