import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import SEEDS, generator
from wsolrefine import tokens_to_map

SIZES = st.integers(1, 5)


@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 5), SEEDS)
def test_every_token_lands_on_its_pixel(b, c, h, w, prefix, seed):
    tokens = torch.randn(b, prefix + h * w, c, generator=generator(seed))
    out = tokens_to_map(tokens, grid=(h, w), num_prefix_tokens=prefix)
    assert out.shape == (b, c, h, w)
    for y in range(h):
        for x in range(w):
            assert torch.equal(out[:, :, y, x], tokens[:, prefix + y * w + x])


@given(SIZES, SIZES, SIZES, st.integers(0, 5), SEEDS)
def test_a_square_grid_is_inferred(b, c, side, prefix, seed):
    tokens = torch.randn(b, prefix + side * side, c, generator=generator(seed))
    out = tokens_to_map(tokens, num_prefix_tokens=prefix)
    assert torch.equal(out, tokens_to_map(tokens, grid=(side, side), num_prefix_tokens=prefix))


@given(SIZES, SIZES, SIZES, SIZES, SEEDS)
def test_channels_last_maps_are_permuted(b, c, h, w, seed):
    tokens = torch.randn(b, h, w, c, generator=generator(seed))
    assert torch.equal(tokens_to_map(tokens), tokens.permute(0, 3, 1, 2))
    assert torch.equal(tokens_to_map(tokens, grid=(h, w)), tokens.permute(0, 3, 1, 2))


def test_values_that_are_not_finite_pass_through():
    tokens = torch.tensor([[[1.0], [float("nan")], [2.0], [float("inf")]]])
    out = tokens_to_map(tokens).flatten()
    assert torch.equal(out.isfinite(), torch.tensor([True, False, True, False]))


VIT = torch.zeros(2, 197, 768)


@pytest.mark.parametrize(
    ("tokens", "options", "error", "message"),
    [
        (
            VIT,
            {},
            ValueError,
            "tokens: expected 197 - num_prefix_tokens (0) to be a square number or grid given; "
            "num_prefix_tokens=1 fits a 14x14 grid, got (2, 197, 768)",
        ),
        (
            torch.zeros(1, 261, 8),
            {"num_prefix_tokens": 1},
            ValueError,
            "tokens: expected 261 - num_prefix_tokens (1) to be a square number or grid given; "
            "num_prefix_tokens=5 fits a 16x16 grid, got (1, 261, 8)",
        ),
        (
            VIT,
            {"grid": (14, 13), "num_prefix_tokens": 1},
            ValueError,
            "grid: expected h*w = 196 tokens after 1 prefix token, got grid (14, 13)",
        ),
        ([[1.0]], {}, TypeError, "tokens: expected a torch.Tensor, got list"),
        (VIT.long(), {}, TypeError, "tokens: expected a floating-point dtype, got torch.int64"),
    ],
)
def test_errors(tokens, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        tokens_to_map(tokens, **options)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 8), {}, r"tokens: expected shape \(B, N, C\).*, got \(5, 8\)"),
        ((2, 196, 8), {"num_prefix_tokens": -1}, r"num_prefix_tokens: expected .*, got -1"),
        ((2, 16, 8), {"num_prefix_tokens": 16}, r"(tokens|num_prefix_tokens): expected .*"),
        ((2, 196, 8), {"grid": (0, 7)}, r"grid: expected .*, got .*\(0, 7\)"),
        ((2, 7, 7, 8), {"grid": (7, 8)}, r"grid: expected .*, got .*\(7, 8\)"),
        ((2, 7, 7, 8), {"num_prefix_tokens": 1}, r"num_prefix_tokens: expected .*, got 1"),
        ((2, 16, 8), {"grid": (-4, -4)}, r"grid: expected .*, got .*\(-4, -4\)"),
    ],
)
def test_errors_say_which_argument_is_wrong(shape, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        tokens_to_map(torch.zeros(shape), **options)
