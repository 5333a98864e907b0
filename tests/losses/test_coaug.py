import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import coaug_loss

WEIGHTS = st.floats(0, 4)


@st.composite
def batches(draw, least=2):
    """Three embeddings (B, D) and labels, of one class, of as many as images, or between."""
    b, d, classes = draw(st.integers(least, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    g = generator(draw(SEEDS))
    embeddings = torch.randn(3, b, d, generator=g, dtype=torch.float64).unbind()
    return [*embeddings, torch.randint(classes, (b,), generator=g)]


@given(batches(), WEIGHTS, WEIGHTS)
def test_matches_a_double_loop(batch, gamma, delta):
    out = coaug_loss(*batch, gamma=gamma, delta=delta, reduction="none")
    expected = reference.coaug(*(each.numpy() for each in batch), gamma, delta)
    assert_close(out, torch.from_numpy(expected))
    assert_close(coaug_loss(*batch, gamma=gamma, delta=delta), out.mean())
    total = coaug_loss(*batch, gamma=gamma, delta=delta, reduction="sum")  # Eqs. 9-12
    assert_close(total.item(), float(expected.sum()))
    assert torch.equal(coaug_loss(*batch), coaug_loss(*batch, gamma=1.0, delta=1.0))


def test_pairs_come_in_order():
    g = generator(0)
    batch = [*torch.randn(3, 5, 2, generator=g), torch.tensor([0, 1, 0, 1, 1])]
    out = coaug_loss(*batch, reduction="none")
    for value, (m, n) in zip(out, itertools.combinations(range(5), 2), strict=True):
        alone = coaug_loss(*(each[[m, n]] for each in batch), reduction="none")
        assert_close(value, alone[0])


@given(batches(), SEEDS)
def test_the_order_of_the_batch_does_not_matter(batch, seed):
    order = torch.randperm(len(batch[0]), generator=generator(seed))
    assert_close(coaug_loss(*(each[order] for each in batch)), coaug_loss(*batch))


@given(batches(), st.integers(-5, 5), st.sampled_from([0.5, 4.0]))
def test_neither_a_shift_nor_a_scale_nor_class_names_matter(batch, shift, scale):
    *embeddings, label = batch
    moved = [each * scale + shift for each in embeddings]
    assert_close(coaug_loss(*moved, label * 3 + 7), coaug_loss(*batch))


@pytest.mark.parametrize("scale", [1e-35, 1e-25, 1e25, 1e37])
def test_the_scale_may_be_extreme(scale):
    """The squares of such lengths overflow or vanish, but the ratios do not depend on the scale."""
    embeddings = [torch.randn(4, 6, generator=generator(i)).requires_grad_() for i in range(3)]
    label = torch.tensor([0, 1, 0, 1])
    expected = coaug_loss(*embeddings, label)
    loss = coaug_loss(*[scale * each for each in embeddings], label)
    assert_close(loss, expected)
    gradients = [torch.autograd.grad(each, embeddings) for each in (loss, expected)]
    assert_close(gradients[0], gradients[1])


def test_the_embeddings_are_drawn_as_the_paper_says():
    """Descent: same class closer, other classes apart; object and background apart."""
    foreground = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64).requires_grad_()
    background = torch.tensor([[0.0, 3.0], [1.0, 3.0]], dtype=torch.float64)
    confident = background + torch.tensor([0.0, 0.5], dtype=torch.float64)
    closer = {}
    for label in ([4, 4], [4, 2]):
        loss = coaug_loss(foreground, background, confident, torch.tensor(label))
        (gradient,) = torch.autograd.grad(loss, foreground)
        closer[tuple(label)] = (gradient[1, 0] - gradient[0, 0]).item() > 0
        assert (gradient[:, 1] > 0).all()  # away from the background, which lies above
    assert closer == {(4, 4): True, (4, 2): False}


@pytest.mark.parametrize("count", [0, 1])
def test_without_pairs_the_loss_is_zero(count):
    embeddings = [torch.rand(count, 3, requires_grad=True) for _ in range(3)]
    label = torch.zeros(count, dtype=torch.int64)
    loss = coaug_loss(*embeddings, label)
    assert loss.item() == 0
    loss.backward()
    assert all(each.grad is None or not each.grad.any() for each in embeddings)
    assert coaug_loss(*embeddings, label, reduction="sum").item() == 0
    assert coaug_loss(*embeddings, label, reduction="none").shape == (0,)


def test_without_pairs_even_a_broken_image_gives_zero():
    embeddings = [torch.full((1, 3), torch.nan)] * 3
    assert coaug_loss(*embeddings, torch.zeros(1, dtype=torch.int64)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 1.0, -300.0])
@pytest.mark.parametrize("label", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_identical_embeddings_cost_nothing(dtype, value, label):
    """All denominators are zero: a CAM that tells nothing apart."""
    embeddings = [torch.full((3, 4), value, dtype=dtype).requires_grad_() for _ in range(3)]
    values = coaug_loss(*embeddings, torch.tensor(label), reduction="none")
    assert values.tolist() == [0, 0, 0]
    values.sum().backward()
    for each in embeddings:
        assert not each.grad.any()


def test_a_denominator_of_rounding_is_no_denominator():
    """Foreground and background off by one rounding would give a loss of millions."""
    foreground = torch.full((2, 4), 1.0)
    background = foreground + torch.finfo(torch.float32).eps
    confident = torch.zeros(2, 4)
    label = torch.tensor([0, 0])
    assert coaug_loss(foreground, background, confident, label).item() == 0
    # A small one that is no rounding counts.
    assert coaug_loss(foreground, background + 1e-3, confident, label).item() > 1000


def test_rounding_is_that_of_the_largest_embedding():
    """A map that is nowhere positive: object and background both zero, but for rounding."""
    foreground, background = torch.zeros(2, 4), torch.full((2, 4), 1e-8)
    label = torch.tensor([0, 0])
    assert coaug_loss(foreground, background, torch.ones(2, 4), label).item() == 0
    assert coaug_loss(foreground, background, background / 2, label).item() == 1


def test_pairs_with_a_denominator_are_untouched_by_one_without():
    g = generator(3)
    batch = [*torch.randn(3, 4, 3, generator=g, dtype=torch.float64), torch.tensor([0, 0, 0, 0])]
    clean = coaug_loss(*batch, reduction="none")
    for each in batch[:3]:
        each[2:] = 0.5  # the pair (2, 3) has none
    leaves = [each.requires_grad_() for each in batch[:3]]
    values = coaug_loss(*leaves, batch[3], reduction="none")
    assert values[5].item() == 0
    assert values[0] == clean[0]
    assert (values[1:5] > 0).all()
    values.sum().backward()
    assert all(each.grad.isfinite().all() for each in leaves)


def test_equal_foregrounds_have_a_finite_gradient():
    """The distance of a point to itself has no slope."""
    foreground = torch.ones(2, 3, dtype=torch.float64).requires_grad_()
    background = torch.zeros(2, 3, dtype=torch.float64).requires_grad_()
    for label in ([0, 0], [0, 1]):
        loss = coaug_loss(foreground, background, background, torch.tensor(label))
        gradients = torch.autograd.grad(loss, [foreground, background])
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_stays_with_the_pairs_of_its_image(bad):
    g = generator(3)
    batch = [*torch.randn(3, 4, 3, generator=g), torch.tensor([0, 1, 0, 1])]
    clean = coaug_loss(*batch, reduction="none")
    pairs = [*itertools.combinations(range(4), 2)]
    for n in range(3):
        broken = [each.clone() for each in batch]
        broken[n][1, 0] = bad
        values = coaug_loss(*broken, reduction="none")
        for value, before, pair in zip(values, clean, pairs, strict=True):
            if 1 not in pair:
                assert value == before
            elif math.isnan(bad):
                assert value.isnan()  # it is not mistaken for a pair without a denominator


@pytest.mark.parametrize("n", [1, 2])
def test_errors(n):
    batch = [torch.rand(2, 3), torch.rand(2, 3), torch.rand(2, 3)]
    batch[n] = torch.rand(2, 4)
    name = ["", "background", "confident_background"][n]
    message = rf"^{name}: expected shape \(B, D\) with D=3 from foreground, got \(2, 4\)$"
    with pytest.raises(ValueError, match=message):
        coaug_loss(*batch, torch.zeros(2, dtype=torch.int64))
