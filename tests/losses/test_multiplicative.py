import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import multiplicative_loss


@st.composite
def predictions(draw):
    """Deep and fused logits (B, K) and labels."""
    b, k = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    g, scale = generator(draw(SEEDS)), draw(st.sampled_from([0.1, 2.0, 20.0]))
    deep, fused = scale * torch.randn(2, b, k, generator=g, dtype=torch.float64)
    return deep, fused, torch.randint(k, (b,), generator=g)


@given(predictions(), st.booleans())
def test_matches_reference(case, distill):
    out = multiplicative_loss(*case, distill=distill, reduction="none")
    expected = [
        reference.multiplicative(deep.numpy(), fused.numpy(), int(y), distill)
        for deep, fused, y in zip(*case, strict=True)
    ]
    assert_close(out, torch.tensor(expected, dtype=torch.float64))
    assert_close(multiplicative_loss(*case, distill=distill), out.mean())
    deep, fused, label = case
    if not distill:  # the two predictions count alike
        assert_close(multiplicative_loss(fused, deep, label), out.mean())


def test_golden(golden):
    """The released lines for CUB: both terms and the gradients that reach the two predictions."""
    case = golden("spol_losses", "cam_loss")
    deep = torch.from_numpy(case["pred1_gap"]).requires_grad_()
    fused = torch.from_numpy(case["pred2_gap"]).requires_grad_()
    label = torch.from_numpy(case["label"])
    loss = multiplicative_loss(deep, fused, label, distill=True)
    loss.backward()
    first, second, whole = case["loss1_loss2_loss"].tolist()
    assert_close(loss.item(), whole, rtol=0, atol=1e-6)
    assert_close(deep.grad, torch.from_numpy(case["grad1"]), rtol=1e-5, atol=1e-8)
    assert_close(fused.grad, torch.from_numpy(case["grad2"]), rtol=1e-5, atol=1e-8)
    # The paper's form holds their first term twice over when both predictions are the deep one.
    paper = multiplicative_loss(deep, deep, label)
    assert_close(paper.item(), 2 * first, rtol=0, atol=1e-6)
    assert_close(2 * loss.item() - paper.item() / 2, second, rtol=0, atol=2e-6)


@given(predictions())
@settings(max_examples=8)
def test_the_teacher_learns_nothing_from_its_student(case):
    deep, fused, label = case
    gradients = []
    for student in (fused, -fused):
        teacher = deep.clone().requires_grad_()
        multiplicative_loss(teacher, student, label, distill=True).backward()
        gradients.append(teacher.grad)
    assert torch.equal(*gradients)


@given(predictions())
@settings(max_examples=8)
def test_the_student_does_not_see_the_label(case):
    deep, fused, label = case
    fused.requires_grad_()
    gradients = []
    for target in (label, (label + 1) % deep.shape[1]):
        loss = multiplicative_loss(deep, fused, target, distill=True)
        gradients.append(torch.autograd.grad(loss, fused)[0])
    assert_close(*gradients)
    # It rests where it predicts what its teacher does.
    same = deep.clone().requires_grad_()
    (rest,) = torch.autograd.grad(multiplicative_loss(deep, same, label, distill=True), same)
    assert_close(rest, torch.zeros_like(rest))


@given(predictions(), st.booleans(), st.floats(-50, 50))
def test_a_shift_of_all_logits_changes_nothing(case, distill, shift):
    deep, fused, label = case
    shifted = multiplicative_loss(deep + shift, fused - shift, label, distill=distill)
    assert_close(shifted, multiplicative_loss(*case, distill=distill))


@pytest.mark.parametrize("distill", [False, True])
def test_one_class_costs_nothing(distill):
    deep = torch.randn(3, 1).requires_grad_()
    loss = multiplicative_loss(deep, -deep, torch.zeros(3).long(), distill=distill)
    loss.backward()
    assert loss.item() == 0
    assert not deep.grad.any()


@pytest.mark.parametrize("distill", [False, True])
def test_nan_shows_in_its_image_alone(distill):
    deep, fused = torch.randn(2, 3, 4, generator=generator(0))
    label = torch.tensor([0, 1, 3])
    clean = multiplicative_loss(deep, fused, label, distill=distill, reduction="none")
    for broken in (deep.clone(), fused.clone()):
        broken[1, 2] = torch.nan
        for pair in ((broken, fused), (deep, broken)):
            out = multiplicative_loss(*pair, label, distill=distill, reduction="none")
            assert out[1].isnan()
    out = multiplicative_loss(broken, fused, label, distill=distill, reduction="none")
    assert out[2] == multiplicative_loss(broken[2:], fused[2:], label[2:], distill=distill)
    assert clean.isfinite().all()


def test_errors():
    with pytest.raises(ValueError, match=r"^fused_logits: expected shape \(B, K\) with K=3 from "):
        multiplicative_loss(torch.rand(2, 3), torch.rand(2, 4), torch.zeros(2).long())


@pytest.mark.parametrize("distill", [False, True])
def test_logarithms_of_exact_probabilities(distill):
    """The logarithm of 0 is -inf; a class that both predictions exclude costs nothing."""
    deep = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]).log().requires_grad_()
    fused = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]).log().requires_grad_()
    label = torch.tensor([0, 1])
    values = multiplicative_loss(deep, fused, label, distill=distill, reduction="none")
    without = [logits.detach().clamp_min(-200) for logits in (deep, fused)]
    expected = multiplicative_loss(*without, label, distill=distill, reduction="none")
    assert_close(values.detach(), expected)
    for gradient in torch.autograd.grad(values.sum(), [deep, fused]):
        assert gradient.isfinite().all()
