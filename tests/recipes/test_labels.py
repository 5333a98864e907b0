"""Pseudo labels by the quantiles of each map."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import gaussian as reference
from tests.support.strategies import generator, maps
from wsolrefine.recipes._labels import quantile_label

# Eighths are exact, so that no rounding decides which entry is the quantile.
shares = st.integers(0, 8).map(lambda eighths: eighths / 8)
pairs = st.tuples(shares, shares).map(sorted)


def lengthened(maps):
    """Repeat the values until there are 8 n + 1: then quantiles of eighths are entries."""
    flat = maps.flatten(-2)[..., :1].expand(*maps.shape[:-2], 1)
    return torch.cat([maps.flatten(-2).repeat_interleave(8, -1), flat], -1)[..., None, :]


@given(maps(ranks=(3, 4)), pairs)
def test_labels_match_the_reference(cam, pair):
    (background, foreground), cam = pair, lengthened(cam)
    out = quantile_label(cam, foreground=foreground, background=background)
    assert out.dtype == torch.uint8
    expected = reference.quantile_label(cam.numpy(), foreground, background)
    assert torch.equal(out, torch.from_numpy(expected))


@given(st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
def test_the_shares_are_those_asked_for_whatever_the_values(seed, one, other):
    background, foreground = sorted((one, other))
    order = torch.randperm(101, generator=generator(seed)).reshape(1, 1, 101).double()
    labels = quantile_label(order, foreground=foreground, background=background)
    assert_close((labels == 1).sum() / 100, torch.tensor(1 - foreground), rtol=0, atol=0.011)
    assert_close((labels == 0).sum() / 101, torch.tensor(background), rtol=0, atol=0.011)
    options = {"foreground": foreground, "background": background}
    assert torch.equal(quantile_label(order.pow(3) - 7, **options), labels)
    batch = quantile_label(torch.cat([-order, order]), **options)
    assert torch.equal(batch[1:], labels)


def test_equal_pixels_have_equal_labels():
    cam = torch.tensor([[[0.0, 0.0, 0.0, 0.0, 0.2, 1.0]]])
    assert quantile_label(cam, foreground=0.5, background=0.1).tolist() == [[[0, 0, 0, 0, 1, 1]]]
    assert not quantile_label(torch.ones(1, 2, 2), foreground=0.5, background=0.1).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_and_nan(dtype):
    cam = torch.tensor([[[0.0, 0.25, 0.5, 1.0]], [[0.0, 0.5, float("nan"), 1.0]]], dtype=dtype)
    labels = quantile_label(cam, foreground=0.7, background=0.4)
    assert labels.tolist() == [[[0, 0, 255, 1]], [[255] * 4]]
