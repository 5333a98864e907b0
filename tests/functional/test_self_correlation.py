import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import scg as reference
from tests.references.batch import each_map
from tests.support.strategies import FLIPS, ORDERS, SEEDS, flip, rotate, scenes
from wsolrefine import self_correlation

PLAIN = scenes(with_maps=False)


def expected(scene, orders):
    dummy = torch.zeros(len(scene.cam), 1, 1)
    return each_map(lambda _, layers: reference.correlation(layers, orders), dummy, scene.layers)


@given(PLAIN, ORDERS)
def test_matches_reference(scene, orders):
    assert_close(self_correlation(scene.features, orders=orders), expected(scene, orders))


@given(PLAIN)
def test_default_is_first_and_second_order(scene):
    assert_close(self_correlation(scene.features), expected(scene, (1, 2)))


@given(PLAIN, ORDERS, SEEDS, st.floats(1e-3, 1e3))
def test_invariances(scene, orders, seed, scale):
    out = self_correlation(scene.features, orders=orders)
    assert out.amin() >= 0
    assert out.amax() <= len(scene.layers) * (1 + 1e-12)
    assert_close(self_correlation(scene.map(lambda f: f * scale).features, orders=orders), out)
    turned = scene.map(lambda f: rotate(f, seed)).features
    assert_close(self_correlation(turned, orders=orders), out)
    first = scene.map(lambda f: f[:1]).features
    assert_close(self_correlation(first, orders=orders), out[:1])


@given(PLAIN, ORDERS, FLIPS)
def test_flipping_the_features_permutes_rows_and_columns(scene, orders, how):
    pixels = flip(torch.arange(scene.grid[0] * scene.grid[1]).view(scene.grid), how).flatten()
    flipped = self_correlation(scene.map(lambda f: flip(f, how)).features, orders=orders)
    out = self_correlation(scene.features, orders=orders)
    assert_close(flipped, out[:, pixels][:, :, pixels])


@given(scenes(max_layers=1, with_maps=False), ORDERS)
def test_the_combination_is_the_maximum_over_orders(scene, orders):
    single = [self_correlation(scene.features, orders=(order,)) for order in orders]
    out = self_correlation(scene.features, orders=orders)
    assert_close(out, torch.stack(single).amax(0))
    assert_close(self_correlation(scene.features, orders=[*orders, *reversed(orders)]), out)
    assert_close(self_correlation(scene.features, orders=set(orders)), out)


@given(scenes(max_layers=1, with_maps=False), ORDERS)
def test_channels_of_zeros_change_nothing(scene, orders):
    """More channels than pixels may select another formulation; the result may not show it."""
    pixels = scene.grid[0] * scene.grid[1]
    padded = torch.cat(
        [scene.features, scene.features.new_zeros(len(scene.cam), 2 * pixels, *scene.grid)], 1
    )
    assert_close(
        self_correlation(padded, orders=orders), self_correlation(scene.features, orders=orders)
    )


def test_first_order_is_the_rectified_cosine_with_its_diagonal():
    features = torch.tensor([[[[1.0, 1.0, -1.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]]]])
    r = 0.5**0.5
    expected = [[1.0, r, 0.0, 0.0], [r, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert_close(self_correlation(features, orders=(1,)), torch.tensor([expected]))


def test_second_order_leaves_out_the_two_pixels_themselves():
    # Cosines: 01 = 1, 02 = 0, 12 = 0, so the only chains of two steps are 0-1-0 and 1-0-1.
    features = torch.tensor([[[[1.0, 2.0, 0.0]], [[0.0, 0.0, 3.0]]]])
    expected = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    assert_close(self_correlation(features, orders=(2,)), expected)


def test_higher_orders_of_a_dead_pixel_are_a_row_of_zeros():
    features = torch.rand(1, 3, 2, 3, dtype=torch.float64)
    features[:, :, 1, 1] = 0
    out = self_correlation(features, orders=(2, 3, 4))
    assert out[0, 4].eq(0).all()
    assert out[0, 0].max() == 1


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_scale_may_be_extreme(exponent):
    features = torch.randn(2, 6, 3, 4)
    assert_close(self_correlation(features * 2.0**exponent), self_correlation(features))


@pytest.mark.parametrize("channels", [16, 200])
@pytest.mark.parametrize("orders", [(2,), (3,), (1, 2, 4)])
def test_single_precision_stays_close_to_double(channels, orders):
    features = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0)).relu()
    double = self_correlation(features.double(), orders=orders)
    assert_close(self_correlation(features, orders=orders).double(), double, rtol=0, atol=4e-4)


@pytest.mark.parametrize(
    ("features", "orders", "error", "message"),
    [
        (
            torch.ones(1, 2, 3, 3),
            (0,),
            ValueError,
            "orders: expected integers from 1 to 64, got (0,)",
        ),
        (
            torch.ones(1, 2, 3, 3),
            (1, -2),
            ValueError,
            "orders: expected integers from 1 to 64, got (1, -2)",
        ),
        (
            torch.ones(1, 2, 3, 3),
            (1.5,),
            TypeError,
            "orders: expected integers from 1 to 64, got one of type float",
        ),
        (
            torch.ones(1, 2, 3, 3),
            (1, 10**9),
            ValueError,
            "orders: expected integers from 1 to 64, got (1, 1000000000)",
        ),
        (torch.ones(1, 2, 3, 3), (), ValueError, "orders: expected integers from 1 to 64, got ()"),
        (
            torch.ones(2, 3, 3),
            (1,),
            ValueError,
            "features: expected shape (B, C, h, w), got (2, 3, 3); tokens (B, N, C) become maps by"
            " tokens_to_map, maps (C, h, w) of one image a batch by features[None]",
        ),
        ([], (1,), ValueError, "features: expected at least one tensor, got []"),
        (
            torch.ones(1, 2, 3, 3, dtype=torch.int32),
            (1,),
            TypeError,
            "features: expected a floating-point dtype, got torch.int32",
        ),
        ("features", (1,), TypeError, "features: expected a torch.Tensor, got str"),
        (
            [torch.ones(1, 2, 3, 3), None],
            (1,),
            TypeError,
            "features[1]: expected a torch.Tensor, got None",
        ),
        (
            [torch.ones(1, 2, 3, 3), torch.ones(2, 3, 3)],
            (1,),
            ValueError,
            "features[1]: expected shape (B, C, h, w), got (2, 3, 3); tokens (B, N, C) become maps by"
            " tokens_to_map, maps (C, h, w) of one image a batch by features[1][None]",
        ),
        (
            [torch.ones(1, 2, 3, 3), torch.ones(1, 2, 3, 3, dtype=torch.float64)],
            (1,),
            TypeError,
            "features[1]: expected torch.float32 as features[0], got torch.float64",
        ),
        (
            [torch.ones(1, 2, 3, 3), torch.ones(2, 2, 3, 3)],
            (1,),
            ValueError,
            "features[1]: expected shape (B, C, h, w) with B=1 from features[0], got (2, 2, 3, 3)",
        ),
    ],
)
def test_errors(features, orders, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        self_correlation(features, orders=orders)
