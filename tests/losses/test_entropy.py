import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import entropy_loss, weighted_entropy_loss

PROBABILITIES = st.floats(0, 1)
STDS = st.floats(0.02, 3)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@given(st.lists(PROBABILITIES, min_size=1, max_size=9))
def test_matches_reference(values):
    out = entropy_loss(tensor(*values), reduction="none")
    assert_close(out, tensor(*map(reference.entropy, values)), rtol=1e-5, atol=1e-13)


@given(st.lists(PROBABILITIES, min_size=1, max_size=9), PROBABILITIES, STDS)
def test_weighted_matches_reference(values, mean, std):
    out = weighted_entropy_loss(tensor(*values), mean=mean, std=std, reduction="none")
    expected = [reference.entropy_weight(p, mean, std) * reference.entropy(p) for p in values]
    assert_close(out, tensor(*expected), rtol=1e-5, atol=1e-13)


def test_weighted_defaults():
    probability = torch.rand(3, 4, 5, generator=generator(0))
    same = weighted_entropy_loss(probability, mean=0.5, std=0.1, detach_weight=False)
    assert torch.equal(weighted_entropy_loss(probability), same)


@pytest.mark.parametrize("loss", [entropy_loss, weighted_entropy_loss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_largest_at_one_half_and_symmetric(loss, dtype):
    steps = torch.arange(0, 513, dtype=dtype) / 512  # p and 1 - p are both exact
    values = loss(steps, reduction="none")
    assert_close(values, values.flip(0), rtol=1e-5, atol=1e-8)
    assert values.argmax() == 256
    assert_close(values[256].item(), math.log(2))
    assert (values[1:257] > values[:256]).all()
    assert values[0] == 0
    assert values[-1] == 0


@given(SEEDS, st.sampled_from([0.5, 3.0, 12.0]))
def test_logits_and_probabilities_agree(seed, scale):
    logits = scale * torch.randn(3, 4, 5, generator=generator(seed), dtype=torch.float64)
    for loss in (entropy_loss, weighted_entropy_loss):
        expected = loss(logits.sigmoid(), reduction="none")
        assert_close(loss(logits, logits=True, reduction="none"), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_are_exact_where_probabilities_are_rounded_off(dtype):
    """The entropy of a saturated pixel is near |z| exp(-|z|): small, symmetric, never negative."""
    logits = torch.linspace(-40, 40, 641, dtype=dtype)
    out = entropy_loss(logits, logits=True, reduction="none")
    assert (out >= 0).all()
    assert_close(out, out.flip(0), rtol=1e-5, atol=0)
    small = logits.double().abs()
    expected = (-small).exp() * (small + 1)
    far = small > 14
    assert_close(out[far].double(), expected[far], rtol=1e-4, atol=0)


def test_logits_gradient_is_that_of_the_formula():
    """With p = sigmoid(z): dH/dz = -z p (1 - p)."""
    logits = torch.linspace(-9, 9, 37, dtype=torch.float64).requires_grad_()
    entropy_loss(logits, logits=True, reduction="none").sum().backward()
    p = logits.detach().sigmoid()
    assert_close(logits.grad, -logits.detach() * p * (1 - p))


def test_pushes_away_from_one_half_where_it_rests():
    probability = tensor(0.4, 0.5, 0.6).requires_grad_()
    for loss in (entropy_loss, weighted_entropy_loss):
        (gradient,) = torch.autograd.grad(loss(probability), probability)
        assert gradient.sign().tolist() == [1, 0, -1]  # descent: down, nowhere, up


def test_the_weight_counts_in_the_gradient_unless_detached():
    probability = tensor(0.35, 0.62).requires_grad_()
    p = probability.detach()
    entropy = torch.stack([tensor(reference.entropy(v))[0] for v in p.tolist()])
    weight = tensor(*(reference.entropy_weight(v, 0.5, 0.1) for v in p.tolist()))
    slope = weight * torch.log((1 - p) / p)
    gradients = {}
    for detach in (True, False):
        loss = weighted_entropy_loss(probability, detach_weight=detach, reduction="none").sum()
        (gradients[detach],) = torch.autograd.grad(loss, probability)
    assert_close(gradients[True], slope)
    assert_close(gradients[False], slope - (p - 0.5) / 0.1**2 * weight * entropy)


def test_values_at_and_beyond_the_ends():
    probability = torch.tensor([0.0, 1.0, -1e-7, 1 + 1e-6]).requires_grad_()
    for loss in (entropy_loss, weighted_entropy_loss):
        values = loss(probability, reduction="none")
        assert values.tolist() == [0, 0, 0, 0]
        (gradient,) = torch.autograd.grad(values.sum(), probability)
        assert gradient.tolist() == [0, 0, 0, 0]


def test_infinite_logits_are_certain():
    logits = torch.tensor([torch.inf, -torch.inf]).requires_grad_()
    for loss in (entropy_loss, weighted_entropy_loss):
        values = loss(logits, logits=True, reduction="none")
        assert values.tolist() == [0, 0]
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("value", [float("nan"), 0.2])
def test_nan_shows_in_its_pixel_alone(value):
    values = torch.tensor([0.3, value, 0.9])
    for loss in (entropy_loss, weighted_entropy_loss):
        for logits in (False, True):
            out = loss(values, logits=logits, reduction="none")
            assert torch.equal(out.isnan(), values.isnan())


@pytest.mark.parametrize("std", [1e-3, 1e-25])
def test_a_narrow_weight_leaves_the_mean_alone(std):
    probability = torch.tensor([0.5, 0.25])
    values = weighted_entropy_loss(probability, std=std, reduction="none")
    assert_close(values, torch.tensor([math.log(2), 0.0]))


def test_a_wide_weight_is_none():
    probability = torch.rand(3, 4, generator=generator(0))
    assert_close(weighted_entropy_loss(probability, std=1e6), entropy_loss(probability))


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_errors(std):
    with pytest.raises(ValueError, match=rf"^std: expected a number > 0, got {std}$"):
        weighted_entropy_loss(torch.rand(2), std=std)
