import torch
from hypothesis import given
from torch.testing import assert_close

from tests.support.strategies import SEEDS, generator
from wsolrefine.losses import area_loss


@given(SEEDS)
def test_is_the_mean(seed):
    probability = torch.rand(2, 3, 4, generator=generator(seed), dtype=torch.float64)
    expected = sum(v.item() for v in probability.flatten()) / 24
    assert_close(area_loss(probability).item(), expected)
    assert_close(area_loss(probability.logit(), logits=True).item(), expected)
    assert torch.equal(area_loss(probability, reduction="none"), probability)


@given(SEEDS)
def test_grows_with_every_pixel(seed):
    g = generator(seed)
    probability = torch.rand(2, 4, 4, generator=g, dtype=torch.float64)
    larger = probability.clone()
    index = torch.randint(32, (1,), generator=g)
    larger.view(-1)[index] += 0.01
    assert_close(area_loss(larger) - area_loss(probability), torch.tensor(0.01).double() / 32)


def test_every_pixel_has_the_same_gradient():
    probability = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    area_loss(probability).backward()
    assert_close(probability.grad, torch.full((2, 3, 4), 1 / 24, dtype=torch.float64))


def test_binary_masks_give_their_share_of_pixels():
    mask = torch.zeros(1, 4, 5)
    mask[0, 1:3, 1:4] = 1
    assert area_loss(mask) == torch.tensor(0.3)
    saturated = torch.where(mask.bool(), torch.inf, -torch.inf)
    assert area_loss(saturated, logits=True) == area_loss(mask)
