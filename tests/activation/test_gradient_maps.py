"""What the maps from activation and gradient have in common: grad_cam, layer_cam and bagcams."""

import re

import pytest
import torch
from torch.testing import assert_close

from tests.activation.test_layer_cam import Layer, score_of_gradient
from tests.support.strategies import generator
from wsolrefine import bagcams, grad_cam, layer_cam

FUNCTION = pytest.mark.parametrize(
    "function", [grad_cam, layer_cam, bagcams], ids=lambda function: function.__name__
)


@FUNCTION
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_dtype_and_small_gradients(function, dtype):
    exact = torch.rand(2, 3, 64, 64, generator=generator(0)).double().requires_grad_()
    weight = torch.tensor([1.0, -0.5, 0.25]).double() * 2e-4  # over 4096 pixels: 5e-8 and less
    half = exact.detach().to(dtype).requires_grad_()
    out = function(half, half.mean((2, 3)) @ weight.to(dtype))
    assert out.dtype == dtype
    expected = function(exact, exact.mean((2, 3)) @ weight)
    assert_close(out.double(), expected, atol=16 * torch.finfo(dtype).eps, rtol=0)


@FUNCTION
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_value_that_is_not_finite_zeroes_its_image_alone(function, bad):
    layer = Layer(0, (2, 3, 4, 4), 2)
    expected = function(layer.activation, layer.scores(layer.activation))
    broken = layer.activation.detach().clone()
    broken[0, 1, 2, 3] = bad
    out = function(broken.requires_grad_(), layer.scores(broken))
    assert not out[0].any()
    assert_close(out[1], expected[1])

    gradient = layer.gradients()[:, 0].clone()
    gradient[0, 1, 2, 3] = bad
    out = function(layer.activation, score_of_gradient(layer.activation, 16 * gradient))
    assert not out[0].any()
    assert_close(out[1], expected[1, 0])


@FUNCTION
def test_an_empty_batch(function):
    activation = torch.rand(0, 3, 4, 4, requires_grad=True)
    assert function(activation, activation.mean((2, 3))).shape == (0, 3, 4, 4)


ACTIVATION = torch.rand(2, 3, 4, 4, requires_grad=True)


@FUNCTION
@pytest.mark.parametrize(
    ("activation", "scores", "error", "message"),
    [
        ([1], ACTIVATION.mean((1, 2, 3)), TypeError, "activation: expected a torch.Tensor"),
        (ACTIVATION, 1.0, TypeError, "scores: expected a torch.Tensor, got float"),
        (
            ACTIVATION[:, 0],
            ACTIVATION.mean((1, 2, 3)),
            ValueError,
            "activation: expected shape (B, C, h, w), got (2, 4, 4)",
        ),
        (
            ACTIVATION,
            ACTIVATION.mean((1, 2, 3))[:1],
            ValueError,
            "scores: expected shape (B,) or (B, K) with B=2 from activation, got (1,)",
        ),
        (
            ACTIVATION,
            ACTIVATION.mean((1, 2, 3)).detach(),
            ValueError,
            "scores: expected a tensor computed with gradients on",
        ),
        (
            ACTIVATION.detach(),
            ACTIVATION.mean((1, 2, 3)),
            ValueError,
            "activation: expected a tensor computed with gradients on (with frozen weights, set "
            "images.requires_grad_() first), got requires_grad=False",
        ),
        (
            ACTIVATION.clone(),
            ACTIVATION.mean((1, 2, 3)),
            ValueError,
            "scores: expected scores computed from activation with gradients on, "
            "got scores that do not depend on it",
        ),
    ],
)
def test_errors(function, activation, scores, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        function(activation, scores)


@FUNCTION
def test_to_map_must_be_a_function(function):
    with pytest.raises(TypeError, match=r"^to_map: expected "):
        function(ACTIVATION, ACTIVATION.mean((1, 2, 3)), to_map=3)
