import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import hard_negative_suppression_loss

WEIGHTS = st.floats(0, 3)


@st.composite
def edges(draw):
    """Logits and boundaries, (B, H, W), from no boundary pixel to nothing else."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    g, density = generator(draw(SEEDS)), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    logits = 3 * torch.randn(shape, generator=g, dtype=torch.float64)
    return logits, torch.rand(shape, generator=g) < density


@given(edges(), WEIGHTS, st.booleans())
def test_matches_reference(case, weight, suppression):
    logits, boundary = case
    options = {"negative_weight": weight, "suppression": suppression}
    expected = torch.from_numpy(
        reference.hard_negative_suppression(
            logits.sigmoid().numpy(), boundary.numpy(), weight, suppression
        )
    )
    for values, from_logits in ((logits.sigmoid(), False), (logits, True)):
        out = hard_negative_suppression_loss(
            values, boundary, **options, logits=from_logits, reduction="none"
        )
        assert_close(out, expected)
        mean = hard_negative_suppression_loss(values, boundary, **options, logits=from_logits)
        assert_close(mean, expected.mean())


@given(edges(), WEIGHTS)
def test_is_the_vanilla_loss_and_the_term_of_false_edges(case, weight):
    logits, boundary = case
    p = logits.sigmoid()
    vanilla, whole = (
        hard_negative_suppression_loss(
            p, boundary, negative_weight=weight, suppression=s, reduction="none"
        )
        for s in (False, True)
    )
    alpha = boundary.double().mean()
    extra = torch.where(boundary, 0.0, -alpha * p * (-p).log1p())
    assert_close(whole - vanilla, extra)
    assert (extra >= 0).all()


def test_vanilla_is_the_balanced_cross_entropy():
    g = generator(0)
    logits = torch.randn(2, 5, 6, generator=g, dtype=torch.float64)
    boundary = torch.rand(2, 5, 6, generator=g) < 0.2
    share = boundary.double().mean()
    weight = torch.where(boundary, 1 - share, share)
    expected = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), boundary.double(), weight)
    out = hard_negative_suppression_loss(logits, boundary, suppression=False, logits=True)
    assert_close(out, expected)


def test_the_balance_is_that_of_the_batch():
    """One image of boundaries alone, one without: each has a weight only in the other's company."""
    boundary = torch.tensor([[[True, True]], [[False, False]]])
    probability = torch.full((2, 1, 2), 0.5)
    out = hard_negative_suppression_loss(probability, boundary, reduction="none")
    assert_close(out[0], torch.full((1, 2), 0.5 * math.log(2)))
    assert_close(out[1], torch.full((1, 2), 0.5 * 1.5 * math.log(2)))
    for image in (0, 1):
        alone = hard_negative_suppression_loss(probability[image], boundary[image])
        assert alone.item() == 0


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_one_class_alone_costs_nothing(value, from_logits):
    values = torch.tensor([-torch.inf, -9.0, 0.3, 9.0, torch.inf])
    values = (values if from_logits else values.sigmoid()).requires_grad_()
    boundary = torch.full((5,), value)
    out = hard_negative_suppression_loss(values, boundary, logits=from_logits, reduction="none")
    assert out.tolist() == [0] * 5
    out.sum().backward()
    assert not values.grad.any()


@given(edges())
def test_costs_grow_with_a_false_edge_and_fall_with_a_true_one(case):
    logits, boundary = case
    probability = logits.sigmoid().requires_grad_()
    hard_negative_suppression_loss(probability, boundary, reduction="none").sum().backward()
    alpha = boundary.double().mean()
    p = probability.detach()
    # d/dP of -(1 + P) ln(1 - P), and of -ln P.
    slope = torch.where(boundary, (alpha - 1) / p, alpha * ((1 + p) / (1 - p) - (-p).log1p()))
    assert_close(probability.grad, slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_zero_and_one_are_off_by_a_rounding(dtype):
    probability = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype).requires_grad_()
    boundary = torch.tensor([True, True, False, False])
    out = hard_negative_suppression_loss(probability, boundary, reduction="none")
    assert out.isfinite().all()
    cost = -math.log(torch.finfo(dtype).eps)
    assert_close(out.tolist(), [cost / 2, 0.0, 0.0, cost], rtol=1e-2, atol=1e-6)
    out.sum().backward()
    assert probability.grad.isfinite().all()


def test_a_saturated_logit_still_learns():
    """Its probability has been rounded to 0 or 1; the logit's gradient is weight times error."""
    logits = torch.tensor([-60.0, 60.0]).requires_grad_()
    boundary = torch.tensor([True, False])
    hard_negative_suppression_loss(logits, boundary, logits=True, reduction="none").sum().backward()
    assert_close(logits.grad, torch.tensor([-0.5, 0.5 * 2]))


@pytest.mark.parametrize("from_logits", [False, True])
def test_nan_shows_in_its_pixel_alone(from_logits):
    values = torch.tensor([0.2, float("nan"), 0.7, float("nan")])
    boundary = torch.tensor([True, True, False, False])
    out = hard_negative_suppression_loss(values, boundary, logits=from_logits, reduction="none")
    assert out.isnan().tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("boundary", "error", "message"),
    [
        ([True], TypeError, "boundary: expected a torch.Tensor, got list"),
        (torch.ones(2, 3), TypeError, "boundary: expected dtype torch.bool, got torch.float32"),
        (
            torch.ones(2, 1).bool(),
            ValueError,
            "boundary: expected shape (2, 3) as probability, got (2, 1)",
        ),
        (
            torch.ones(2, 3, device="meta").bool(),
            ValueError,
            "boundary: expected cpu as probability, got meta",
        ),
    ],
)
def test_errors(boundary, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        hard_negative_suppression_loss(torch.rand(2, 3), boundary)
