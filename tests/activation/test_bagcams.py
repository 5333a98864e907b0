from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.activation.test_layer_cam import layers, score_of_gradient
from tests.references import bagcams as reference
from tests.support.strategies import FLIPS, flip, generator
from tests.support.zoo import ResNet, ViT, seeded
from wsolrefine import bagcams, capture, layer_cam, minmax, tokens_to_map


def by_hand(activation, gradients):
    """Return the maps of gradients (B, K, C, h, w)."""
    evidence = gradients * activation.detach()[:, None]
    return minmax(((1 + evidence.mean((3, 4), keepdim=True)) * evidence).relu().sum(2))


@given(layers())
def test_matches_reference(layer):
    values, gradients = layer.activation.detach().numpy(), layer.gradients().numpy()
    expected = np.stack(
        [
            [reference.bagcams(one, gradient) for gradient in of_image]
            for one, of_image in zip(values, gradients, strict=True)
        ]
    )
    out = bagcams(layer.activation, layer.scores(layer.activation))
    assert_close(out, torch.from_numpy(expected))


@given(layers(), FLIPS, st.integers(-20, 20))
def test_invariances(layer, how, exponent):
    activation = layer.activation
    scores = layer.scores(activation)
    out = bagcams(activation, scores)
    assert ((out >= 0) & (out <= 1)).all()
    assert not out.requires_grad
    assert_close(bagcams(activation, scores[:, 0]), out[:, 0])  # each class as if it came alone
    assert_close(bagcams(activation, scores.flip(1)), out.flip(1))
    assert_close(bagcams(activation, scores + 1), out)
    # The scale of an activation does not matter if the layers after it undo it.
    scaled = (activation.detach() * 2.0**exponent).requires_grad_()
    assert_close(bagcams(scaled, layer.scores(scaled * 2.0**-exponent)), out)
    first = activation[:1].detach().requires_grad_()
    assert_close(bagcams(first, layer.scores(first)), out[:1])
    flipped = flip(activation.detach(), how).requires_grad_()
    assert_close(bagcams(flipped, layer.scores(flip(flipped, how))), flip(out, how))
    order = torch.randperm(activation.shape[1], generator=generator(0))
    moved = activation.detach()[:, order].requires_grad_()
    assert_close(bagcams(moved, layer.scores(moved[:, order.argsort()])), out)


def test_channels_do_not_cancel():
    """LayerCAM sums the channels before its ReLU."""
    activation = torch.tensor([[[[0.2, 0.1]], [[-0.2, 0.1]]]], requires_grad=True)
    score = activation.sum((1, 2, 3))
    assert bagcams(activation, score).tolist() == [[[1, 0]]]  # 1.15 * 0.2, 1.15 * 0.1 + 0.95 * 0.1
    assert layer_cam(activation, score).tolist() == [[[0, 1]]]


@pytest.mark.parametrize(
    ("scale", "expected"), [(1e-9, [1, 1 / 3, 0]), (2, [1.0, 1, 0]), (1e9, [0, 1, 0.5])]
)
def test_the_scale_of_the_scores_matters(scale, expected):
    """The mean evidence of the channels is 0 and a half: large beside the 1, or small."""
    activation = torch.tensor([[[[2.0, 0.0, -2.0]], [[0.0, 1.0, 0.5]]]], requires_grad=True)
    out = bagcams(activation, scale * activation.sum((1, 2, 3)))
    assert_close(out, torch.tensor([[expected]]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", ["layer1", "layer3"])
def test_any_layer_of_a_network_with_frozen_weights(layer):
    model, images = seeded(ResNet).requires_grad_(False), torch.rand(2, 3, 64, 64)
    with capture(model, layer) as outputs:
        scores = model(images.requires_grad_()).topk(2).values
    activation = outputs[layer]
    out = bagcams(activation, scores)
    gradients = [
        torch.autograd.grad(score.sum(), activation, retain_graph=True)[0]
        for score in scores.unbind(1)
    ]
    assert_close(out, by_hand(activation, torch.stack(gradients, 1)), rtol=0, atol=1e-5)
    assert images.grad is None
    scores.sum().backward()  # the graph is still there


def test_transformer_tokens():
    model, grid = seeded(ViT, (48, 80), registers=4), (3, 5)
    with capture(model, "blocks.2.norm1") as outputs:
        scores = model(torch.rand(2, 3, 48, 80)).topk(2).values
    tokens, to_map = (
        outputs["blocks.2.norm1"],
        partial(tokens_to_map, grid=grid, num_prefix_tokens=5),
    )
    out = bagcams(tokens, scores, to_map=to_map)
    for k in range(2):
        (gradient,) = torch.autograd.grad(scores[:, k].sum(), tokens, retain_graph=True)
        expected = by_hand(to_map(tokens), to_map(gradient)[:, None])[:, 0]
        assert_close(out[:, k], expected)


@pytest.mark.parametrize(
    "exponents", [(0, 0), (-120, 0), (0, -120), (60, 59), (-70, -75), (120, -120), (100, -97)]
)
def test_activation_and_gradient_of_any_scale(exponents):
    """Products of both overflow or vanish in float32; powers of two round nothing."""
    g = generator(1)
    values = torch.randint(-8, 9, (2, 500, 4, 5), generator=g).double()
    weight = torch.randint(-8, 9, (2, 500, 4, 5), generator=g).double()
    values, weight = values * 2.0 ** exponents[0], weight * 2.0 ** exponents[1]
    # score_of_gradient divides by the positions what the function multiplies by them.
    expected = by_hand(values, (weight / 20)[:, None])[:, 0].float()
    assert expected.any()
    activation = values.float().requires_grad_()
    assert_close(bagcams(activation, score_of_gradient(activation, weight.float())), expected)


def test_no_evidence_gives_a_zero_map():
    activation = 0.1 * torch.rand(1, 3, 4, 4, generator=generator(0))
    activation.requires_grad_()
    total = activation.sum((1, 2, 3))
    assert bagcams(activation, total).any()
    for score in (-total, 0 * total):
        assert not bagcams(activation, score).any()
    single = torch.rand(1, 3, 1, 1, requires_grad=True)
    assert not bagcams(single, single.sum((1, 2, 3))).any()  # one position: constant
    dead = torch.zeros(1, 3, 4, 4, requires_grad=True)
    assert not bagcams(dead, dead.sum((1, 2, 3))).any()
