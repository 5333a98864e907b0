"""Thinning: scikit-image, pixel by pixel, and what must hold of any mask."""

import numpy as np
import torch
from hypothesis import given
from skimage import morphology

from tests.references import boundary as reference
from tests.support.edges import blobs
from tests.support.strategies import SEEDS, masks
from wsolrefine import connected_components
from wsolrefine.functional.thinning import WORD, thin


def assert_thinned(mask):
    out = thin(mask)
    for one, whole in zip(out.numpy(), mask.numpy(), strict=True):
        np.testing.assert_array_equal(one, morphology.thin(whole))
        np.testing.assert_array_equal(one, reference.thin(whole))


@given(masks(with_maps=False))
def test_thin_matches_references(mask):
    assert_thinned(mask)


@given(SEEDS)
def test_thin_matches_references_on_blobs(seed):
    assert_thinned(blobs(seed, batch=1, size=(13, 17)))


def test_thin_of_many_masks_at_once():
    """All bits of a word, the sign too, and a second word that is not full."""
    mask = blobs(0, batch=WORD + 7)
    out = thin(mask)
    for i, whole in enumerate(mask.numpy()):
        np.testing.assert_array_equal(out[i].numpy(), morphology.thin(whole))
    assert torch.equal(thin(mask[WORD - 1 : WORD]), out[WORD - 1 : WORD])


@given(masks(maximum=14, with_maps=False))
def test_thin_keeps_components_and_ends(mask):
    out = thin(mask)
    assert not (out & ~mask).any()
    assert torch.equal(thin(out), out)
    components = [connected_components(some).flatten(1).amax(1) for some in (mask, out)]
    assert torch.equal(*components)


def test_thin_by_hand():
    block = torch.zeros(1, 7, 9, dtype=torch.bool)
    block[0, 2:5, 1:8] = True
    line = torch.zeros_like(block)
    line[0, 3, 2:7] = True
    assert torch.equal(thin(block), line)
    for kept in (line, line.mT, torch.eye(6).bool()[None], torch.ones(1, 1, 1).bool()):
        assert torch.equal(thin(kept), kept)
    assert not thin(torch.zeros(2, 3, 4).bool()).any()
    assert thin(torch.zeros(0, 3, 4).bool()).shape == (0, 3, 4)


def test_thin_on_the_device_in_any_layout(device):
    mask = blobs(3)
    expected, before = thin(mask), mask.clone()
    assert torch.equal(thin(mask.to(device)).cpu(), expected)
    assert torch.equal(thin(mask.permute(1, 2, 0).contiguous().permute(2, 0, 1)), expected)
    assert torch.equal(thin(mask[1:2].expand(3, -1, -1)), expected[1:2].expand(3, -1, -1))
    assert torch.equal(mask, before)
