from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import layer_cam as reference
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from tests.support.zoo import ResNet, ViT, seeded
from wsolrefine import capture, grad_cam, layer_cam, minmax, tokens_to_map


class Layer:
    """An activation and scores whose gradients there have both signs, of K classes."""

    def __init__(self, seed, shape, classes, *, dtype=torch.float64):
        g = generator(seed)
        values = torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)
        self.weight = torch.randn(classes, *shape[1:], generator=g, dtype=torch.float64).to(dtype)
        self.activation = values.requires_grad_()

    def scores(self, activation):
        """Return (B, K)."""
        return torch.einsum("bchw,kchw->bk", activation**2 + activation, self.weight)

    def gradients(self):
        """Return (B, K, C, h, w), by hand."""
        return (2 * self.activation.detach() + 1)[:, None] * self.weight

    def maps(self):
        return layer_cam(self.activation, self.scores(self.activation))


@st.composite
def layers(draw):
    shape = [draw(st.integers(1, most)) for most in (3, 5, 6, 6)]
    return Layer(draw(SEEDS), shape, draw(st.integers(1, 3)))


@given(layers())
def test_matches_reference(layer):
    values, gradients = layer.activation.detach().numpy(), layer.gradients().numpy()
    expected = np.stack(
        [
            [reference.layer_cam(one, gradient) for gradient in of_image]
            for one, of_image in zip(values, gradients, strict=True)
        ]
    )
    assert_close(layer.maps(), torch.from_numpy(expected))


@given(layers(), FLIPS, st.integers(-20, 20))
def test_invariances(layer, how, exponent):
    activation, out = layer.activation, layer.maps()
    assert ((out >= 0) & (out <= 1)).all()
    assert not out.requires_grad
    scores = layer.scores(activation)
    assert_close(layer_cam(activation, scores[:, 0]), out[:, 0])  # each class as if it came alone
    assert_close(layer_cam(activation, scores.flip(1)), out.flip(1))
    # Neither the scale nor the offset of a score matters, but its sign does.
    assert_close(layer_cam(activation, scores * 2.0**exponent + 1), out)
    assert_close(
        layer_cam(activation, -scores[:, 0]), _by_hand(activation, -layer.gradients())[:, 0]
    )
    first = activation[:1].detach().requires_grad_()
    assert_close(layer_cam(first, layer.scores(first)), out[:1])
    flipped = flip(activation.detach(), how).requires_grad_()
    assert_close(layer_cam(flipped, layer.scores(flip(flipped, how))), flip(out, how))
    order = torch.randperm(activation.shape[1], generator=generator(0))
    moved = activation.detach()[:, order].requires_grad_()
    assert_close(layer_cam(moved, layer.scores(moved[:, order.argsort()])), out)


def _by_hand(activation, gradients):
    """Return the maps of gradients (B, K, C, h, w)."""
    return minmax((gradients.relu() * activation.detach()[:, None]).sum(2).relu())


def test_each_position_has_a_weight_of_its_own():
    """Grad-CAM averages the gradient over the grid, and here the mean is zero."""
    activation = torch.ones(1, 1, 2, 2, requires_grad=True)
    score = (activation * torch.tensor([[3.0, -1.0], [-1.0, -1.0]])).sum((1, 2, 3))
    assert layer_cam(activation, score).tolist() == [[[1, 0], [0, 0]]]
    assert not grad_cam(activation, score).any()


def test_channels_do_not_cancel_by_their_gradients_but_by_their_values():
    activation = torch.tensor([[[[2.0, 2.0]], [[1.0, -3.0]]]], requires_grad=True)
    against = (activation * torch.tensor([1.0, -5.0])[:, None, None]).sum((1, 2, 3))
    assert not layer_cam(activation, against).any()  # 2 at both positions: constant
    both = activation.sum((1, 2, 3))
    assert layer_cam(activation, both).tolist() == [[[1, 0]]]  # 3 and, below zero, -1


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
def test_any_layer_of_a_network_with_frozen_weights(layer):
    model, images = seeded(ResNet).requires_grad_(False), torch.rand(2, 3, 64, 64)
    with capture(model, layer) as outputs:
        scores = model(images.requires_grad_()).topk(2).values
    activation = outputs[layer]
    out = layer_cam(activation, scores)
    gradients = [
        torch.autograd.grad(score.sum(), activation, retain_graph=True)[0]
        for score in scores.unbind(1)
    ]
    assert_close(out, _by_hand(activation, torch.stack(gradients, 1)), rtol=0, atol=1e-5)
    assert images.grad is None
    scores.sum().backward()  # the graph is still there
    with torch.no_grad():
        assert_close(layer_cam(*_again(model, layer, images)), out)


def _again(model, layer, images):
    with torch.enable_grad(), capture(model, layer) as outputs:
        scores = model(images).topk(2).values
    return outputs[layer], scores


@pytest.mark.parametrize(("size", "registers"), [((64, 64), 0), ((48, 80), 4)])
def test_transformer_tokens(size, registers):
    model, grid = seeded(ViT, size, registers=registers), (size[0] // 16, size[1] // 16)
    with capture(model, "blocks.2.norm1") as outputs:
        scores = model(torch.rand(2, 3, *size)).topk(2).values
    tokens, first = outputs["blocks.2.norm1"], 1 + registers
    out = layer_cam(
        tokens, scores, to_map=partial(tokens_to_map, grid=grid, num_prefix_tokens=first)
    )
    for k in range(2):
        (gradient,) = torch.autograd.grad(scores[:, k].sum(), tokens, retain_graph=True)
        raw = (tokens * gradient.relu()).sum(2)[:, first:].relu().reshape(2, *grid)
        assert_close(out[:, k], minmax(raw).detach())


@pytest.mark.parametrize("exponents", [(-140, 0), (0, -140), (60, 59), (-70, -75), (120, -120)])
def test_activation_and_gradient_of_any_scale(exponents):
    """Products of both would overflow or vanish; powers of two round nothing."""
    g = generator(1)
    values = torch.randint(-8, 9, (2, 500, 4, 5), generator=g).float()
    weight = torch.randint(-8, 9, (2, 500, 4, 5), generator=g).float()
    expected = minmax((weight.relu() * values).sum(1).relu())
    assert expected.any()
    scaled = [
        torch.from_numpy(np.ldexp(one.numpy(), exponent))
        for one, exponent in zip((values, weight), exponents, strict=True)
    ]
    activation = scaled[0].requires_grad_()
    assert_close(layer_cam(activation, score_of_gradient(activation, scaled[1])), expected)


def score_of_gradient(activation, gradient):
    """Return scores (B,) with this gradient, whose own values do not matter."""

    class Score(torch.autograd.Function):
        @staticmethod
        def forward(ctx, maps):
            return maps.new_zeros(len(maps))

        @staticmethod
        def backward(ctx, start):
            pixels = gradient.shape[-1] * gradient.shape[-2]
            return gradient * (start / pixels)[:, None, None, None]  # layer_cam starts with them

    return Score.apply(activation)


def test_no_evidence_gives_a_zero_map():
    activation = torch.rand(1, 3, 4, 4, requires_grad=True)
    total = activation.sum((1, 2, 3))
    for score in (-total, 0 * total):
        assert not layer_cam(activation, score).any()
    single = torch.rand(1, 3, 1, 1, requires_grad=True)
    assert not layer_cam(single, single.sum((1, 2, 3))).any()  # one position: constant
    dead = torch.zeros(1, 3, 4, 4, requires_grad=True)
    assert not layer_cam(dead, dead.sum((1, 2, 3))).any()
