import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine import confseg
from wsolrefine.losses import confseg_loss


@st.composite
def pairs(draw):
    """An auxiliary map and a CAM, (B, h, w), of any scale."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    g, scale = generator(draw(SEEDS)), draw(st.sampled_from([0.1, 1.0, 30.0]))
    return [scale * torch.randn(2, *shape, generator=g, dtype=torch.float64)[i] for i in (0, 1)]


@given(pairs())
def test_matches_reference(pair):
    auxiliary, cam = pair
    if min(cam.shape[1:]) * max(cam.shape[1:]) <= 2:
        return  # of one or two pixels none is further from the mean than the mean distance
    out = confseg_loss(auxiliary, cam, reduction="none")
    expected = [
        reference.confseg(a.numpy(), c.numpy()) for a, c in zip(auxiliary, cam, strict=True)
    ]
    assert_close(out, torch.tensor(expected, dtype=torch.float64))
    assert_close(confseg_loss(auxiliary, cam), out.mean())


@given(pairs())
def test_zero_where_the_maps_agree(pair):
    auxiliary, cam = pair
    assert confseg_loss(cam.clone(), cam).item() == 0
    confident = confseg(cam).confident
    assert confseg_loss(torch.where(confident, cam, auxiliary), cam).item() == 0


@given(pairs())
def test_does_not_see_pixels_that_are_not_confident(pair):
    auxiliary, cam = pair
    confident = confseg(cam).confident
    other = torch.where(confident, auxiliary, auxiliary * 7 - 3)
    out = confseg_loss(auxiliary, cam, reduction="none")
    assert torch.equal(confseg_loss(other, cam, reduction="none"), out)
    broken = torch.where(confident, auxiliary, torch.nan)
    assert torch.equal(confseg_loss(broken, cam, reduction="none"), out)


@given(pairs())
def test_the_gradient_is_a_sign_on_confident_pixels(pair):
    auxiliary, cam = (each.requires_grad_() for each in pair)
    confseg_loss(auxiliary, cam, reduction="none").sum().backward()
    assert cam.grad is None  # the CAM is the supervision
    expected = (auxiliary - cam).detach().sign() * confseg(cam.detach()).confident
    assert torch.equal(auxiliary.grad, expected)


@given(pairs(), st.sampled_from([0.5, 2.0, 8.0]))
def test_has_the_scale_of_its_maps(pair, factor):
    auxiliary, cam = pair
    assert_close(confseg_loss(factor * auxiliary, factor * cam), factor * confseg_loss(*pair))


@pytest.mark.parametrize("value", [0.7, 0.0, -3.0, float("nan"), float("inf"), -float("inf")])
def test_a_cam_without_information_costs_nothing(value):
    """Constant, or with one value that is not finite: zero, and zero as a gradient."""
    g = generator(0)
    auxiliary = torch.rand(3, 4, 5, generator=g).requires_grad_()
    cam = torch.rand(3, 4, 5, generator=g)
    clean = confseg_loss(auxiliary, cam, reduction="none").detach()
    if abs(value) < torch.inf:
        cam[1] = value
    else:
        cam[1, 2, 2] = value
    out = confseg_loss(auxiliary, cam, reduction="none")
    assert torch.equal(out.detach(), torch.stack([clean[0], torch.zeros(()), clean[2]]))
    out.sum().backward()
    assert auxiliary.grad.isfinite().all()
    assert not auxiliary.grad[1].any()
    assert auxiliary.grad[0].any()


def test_a_confident_value_that_is_not_finite_shows():
    cam = torch.tensor([[[0.0, 0.4, 0.5, 0.6, 1.0]]])
    auxiliary = cam.clone()
    auxiliary[0, 0, 0] = torch.nan
    assert confseg_loss(auxiliary, cam).isnan()
    auxiliary[0, 0, 0], auxiliary[0, 0, 1] = 0.0, torch.nan
    auxiliary.requires_grad_()
    loss = confseg_loss(auxiliary, cam)
    loss.backward()
    assert loss.item() == 0
    assert not auxiliary.grad.any()


def test_errors():
    with pytest.raises(ValueError, match=r"^cam: expected shape \(B, h, w\) with w=5 from aux"):
        confseg_loss(torch.rand(2, 4, 5), torch.rand(2, 4, 6))
