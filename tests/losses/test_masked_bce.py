import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torch.testing import assert_close

from tests.references import losses as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine import pseudo_label
from wsolrefine.losses import masked_bce_loss


@st.composite
def segmentations(draw):
    """Logits and labels 1, 0, ignore, (B, H, W), from all ignored to none."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    ignore, kinds = draw(st.sampled_from([255, 2])), draw(st.sampled_from([[0, 1], [0], [1], []]))
    g, dtype = generator(draw(SEEDS)), draw(st.sampled_from([torch.uint8, torch.int64]))
    choices = torch.tensor([*kinds, ignore], dtype=dtype)
    target = choices[torch.randint(len(choices), shape, generator=g)]
    return 4 * torch.randn(shape, generator=g, dtype=torch.float64), target, ignore


@given(segmentations())
def test_matches_reference(case):
    logits, target, ignore = case
    out = masked_bce_loss(logits, target, ignore_index=ignore, reduction="none")
    expected = torch.from_numpy(reference.masked_bce(logits.numpy(), target.numpy(), ignore))
    assert_close(out, expected)
    assert_close(masked_bce_loss(logits, target, ignore_index=ignore), expected.mean())


def test_golden(golden):
    """The released training line: logits resized with aligned corners, weights, mean."""
    case = golden("spol_losses", "segloss")
    logits = torch.from_numpy(case["logits"]).requires_grad_()
    mask, weight = torch.from_numpy(case["mask"]), torch.from_numpy(case["weight"])
    resized = interpolate(logits, mask.shape[1:], mode="bilinear", align_corners=True)[:, 0]
    loss = masked_bce_loss(resized, mask.masked_fill(weight == 0, 255))
    loss.backward()
    assert_close(loss.item(), case["loss"].item(), rtol=0, atol=1e-6)
    assert_close(logits.grad, torch.from_numpy(case["grad"]), rtol=1e-4, atol=1e-8)


@given(segmentations(), SEEDS)
def test_ignored_pixels_cost_nothing_but_count(case, seed):
    logits, target, ignore = case
    known = target != ignore
    out = masked_bce_loss(logits, target, ignore_index=ignore)
    other = torch.where(known, logits, torch.randn(logits.shape, generator=generator(seed)) * 1e4)
    assert torch.equal(masked_bce_loss(other, target, ignore_index=ignore), out)
    if known.any():
        labeled = masked_bce_loss(logits[known], target[known], ignore_index=ignore)
        assert_close(out, labeled * known.double().mean())
    else:
        assert out.item() == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_stands_under_an_ignored_pixel_cannot_spoil_the_loss(bad):
    logits = torch.tensor([0.3, bad, -2.0]).requires_grad_()
    target = torch.tensor([1, 255, 0], dtype=torch.uint8)
    loss = masked_bce_loss(logits, target)
    loss.backward()
    assert_close(loss, masked_bce_loss(torch.tensor([0.3, 0.0, -2.0]), target))
    assert logits.grad.isfinite().all()
    assert logits.grad[1] == 0


def test_all_ignored_is_zero_with_a_gradient_of_zero():
    logits = torch.randn(2, 3, 4).requires_grad_()
    loss = masked_bce_loss(logits, torch.full((2, 3, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_nan_under_a_label_shows():
    logits = torch.tensor([float("nan"), 0.0])
    target = torch.tensor([1, 0], dtype=torch.uint8)
    out = masked_bce_loss(logits, target, reduction="none")
    assert out[0].isnan()
    assert_close(out[1].item(), math.log(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_an_infinite_logit_on_the_right_side_costs_nothing(dtype):
    """What half precision makes of a logit beyond 65504."""
    logits = torch.tensor([torch.inf, -torch.inf], dtype=dtype).requires_grad_()
    target = torch.tensor([1, 0], dtype=torch.uint8)
    out = masked_bce_loss(logits, target, reduction="none")
    assert out.tolist() == [0, 0]
    out.sum().backward()
    assert logits.grad.tolist() == [0, 0]
    wrong = masked_bce_loss(logits, 1 - target, reduction="none")
    assert (wrong > 1000).all()


def test_every_value_but_zero_is_object():
    logits = torch.tensor([0.4, -0.7, 1.2])
    one = torch.tensor([1, 1, 0], dtype=torch.uint8)
    assert torch.equal(masked_bce_loss(logits, one * 7), masked_bce_loss(logits, one))
    assert torch.equal(masked_bce_loss(logits, one.long()), masked_bce_loss(logits, one))


def test_takes_what_pseudo_label_returns():
    cam = torch.rand(2, 6, 7, generator=generator(0))
    label = pseudo_label(cam, foreground=0.7, background=0.3)
    out = masked_bce_loss(cam.logit(), label, reduction="none")
    assert torch.equal(out != 0, (cam > 0.7) | (cam < 0.3))


@pytest.mark.parametrize("ignore_index", [-1, 256, 300])
def test_an_ignore_index_that_uint8_cannot_hold(ignore_index):
    """Compared as uint8 it would wrap round: 256 to 0, which is all the background."""
    logits = torch.tensor([0.4, -0.7, 1.2])
    target = torch.tensor([0, 1, ignore_index % 256], dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=rf"^ignore_index: expected 0 to 255.*, got {ignore_index}$"
    ):
        masked_bce_loss(logits, target, ignore_index=ignore_index)
    wide = torch.tensor([0, 1, ignore_index])
    out = masked_bce_loss(logits, wide, ignore_index=ignore_index, reduction="none")
    assert (out > 0).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([1], TypeError, "target: expected a torch.Tensor, got list"),
        (
            torch.ones(2, 3),
            TypeError,
            "target: expected dtype torch.uint8 or torch.int64, got torch.float32",
        ),
        (
            torch.ones(2, 3).bool(),
            TypeError,
            "target: expected dtype torch.uint8 or torch.int64, got torch.bool",
        ),
        (
            torch.ones(2, 1).byte(),
            ValueError,
            "target: expected shape (2, 3) as logits, got (2, 1)",
        ),
        (
            torch.ones(2, 3, device="meta").byte(),
            ValueError,
            "target: expected cpu as logits, got meta",
        ),
    ],
)
def test_errors(target, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        masked_bce_loss(torch.randn(2, 3), target)
