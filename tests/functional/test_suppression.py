"""Suppression of non-maxima: pixel by pixel, and what must hold of any map."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import boundary as reference
from tests.references.normalize import every_map
from tests.support.edges import soft
from tests.support.strategies import FLIPS, SEEDS, flip, masks
from wsolrefine import connected_components, suppress_non_maxima, thin


@given(SEEDS)
def test_suppression_matches_reference(seed):
    edges = soft(seed)
    expected = every_map(reference.suppress, edges.numpy())
    out = suppress_non_maxima(edges)
    assert torch.equal(out, torch.from_numpy(expected))
    assert 0 < (out > 0).double().mean() < 0.6


@given(SEEDS, FLIPS)
def test_suppression_turns_with_the_map(seed, how):
    edges = soft(seed)
    assert torch.equal(suppress_non_maxima(flip(edges, how)), flip(suppress_non_maxima(edges), how))


@given(SEEDS, st.sampled_from([2.0**-20, 0.25, 4.0]))
def test_suppression_does_not_depend_on_scale(seed, scale):
    edges = soft(seed)
    assert torch.equal(suppress_non_maxima(scale * edges), scale * suppress_non_maxima(edges))


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_suppression_leaves_the_crest_of_a_straight_edge(degrees):
    y, x = torch.meshgrid(*(torch.arange(41.0, dtype=torch.float64) - 20,) * 2, indexing="ij")
    normal = math.radians(degrees)
    away = (x * math.cos(normal) + y * math.sin(normal)).abs()
    out = suppress_non_maxima((-(away**2) / 18).exp()[None])[0]
    inside = out[1:-1, 1:-1], away[1:-1, 1:-1]
    assert not inside[0][inside[1] > 0.75].any()
    assert inside[0][inside[1] < 0.5].all()
    # Thinned it is one line, from border to border.
    line = thin((inside[0] > 0)[None])
    assert connected_components(line).max() == 1
    assert line.sum() in range(38, 41)


@given(masks(with_maps=False, maximum=12))
def test_suppression_leaves_masks_alone(mask):
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(suppress_non_maxima(mask.to(dtype)), mask.to(dtype))


def test_suppression_of_degenerate_maps():
    for value in (0.0, 0.3, 1.0):
        constant = torch.full((2, 5, 6), value)
        assert torch.equal(suppress_non_maxima(constant), constant)
    one = torch.full((1, 1, 1), 0.7)
    assert torch.equal(suppress_non_maxima(one), one)
    assert suppress_non_maxima(torch.zeros(0, 3, 4)).shape == (0, 3, 4)
    # Of an image with NaN little is left, of the others all.
    edges = soft(4).float()
    broken = edges.clone()
    broken[0, 3, 3] = torch.nan
    out = suppress_non_maxima(broken)
    assert torch.equal(out[1], suppress_non_maxima(edges)[1])
    assert out.isfinite().all()
    assert not out[0, 2:5, 2:5].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_suppression_on_the_device_in_any_precision(device, dtype):
    edges = soft(5).to(dtype)
    out = suppress_non_maxima(edges.to(device))
    assert out.dtype == dtype
    assert out.device.type == device.type
    assert torch.equal(out.cpu(), suppress_non_maxima(edges.float()).to(dtype))


def test_gradients_of_suppression_reach_what_is_kept():
    edges = soft(6).requires_grad_()
    out = suppress_non_maxima(edges)
    (gradient,) = torch.autograd.grad(out.sum(), edges)
    assert torch.equal(gradient, (out > 0).double())
