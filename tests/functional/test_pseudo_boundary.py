import re

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import ndimage
from torch.testing import assert_close

from tests.support.strategies import FLIPS, flip, generator, masks
from wsolrefine import connected_components, thin
from wsolrefine.functional.pseudo_boundary import pseudo_boundary
from wsolrefine.metrics import match_boundaries


def disc(radius, size=(60, 70), center=(28.0, 33.0)):
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")
    return (y - center[0]).square() + (x - center[1]).square() <= radius**2


def photograph(bright):
    """A bright shape on dark ground, with some noise, (1, 3, H, W)."""
    noise = 0.02 * torch.randn(3, *bright.shape, generator=generator(0))
    return (0.2 + 0.6 * bright + noise).clamp(0, 1)[None]


def outline(mask):
    """The pixels of a mask (H, W) beside what can be reached from outside in steps of one pixel."""
    padded = np.pad(mask, 1)
    steps = ndimage.generate_binary_structure(2, 1)
    outside = ndimage.binary_propagation(~padded & ~np.pad(np.ones_like(mask), 1), steps, ~padded)
    return (ndimage.binary_dilation(outside, steps) & padded)[1:-1, 1:-1]


def plain(mask):
    return torch.zeros(len(mask), 3, *mask.shape[1:])


@given(masks(with_maps=False))
def test_without_edges_it_is_the_outline_of_the_mask(mask):
    piece = connected_components(mask) == 1
    out = pseudo_boundary(piece.double(), plain(piece).double())
    for one, lines in zip(piece, out, strict=True):
        expected = torch.from_numpy(outline(one.numpy()))
        inner = torch.zeros_like(expected)
        inner[1:-1, 1:-1] = expected[1:-1, 1:-1]
        assert torch.equal(lines, inner)


@given(masks(with_maps=False), FLIPS)
def test_flips_without_edges(mask, how):
    piece = (connected_components(mask) == 1).float()
    flipped = pseudo_boundary(flip(piece, how), flip(plain(piece), how))
    assert torch.equal(flipped, flip(pseudo_boundary(piece, plain(piece)), how))


def test_the_longest_contour_wins():
    mask = torch.zeros(1, 12, 24)
    mask[0, 2:8, 2:8] = 1  # 36 pixels, around it 20 steps
    mask[0, 10, 2:20] = 1  # 18 pixels, around it 34 steps
    out = pseudo_boundary(mask, plain(mask))
    assert out.sum() == 18
    assert out[0, 10, 2:20].all()


def test_holes_have_no_boundary():
    mask = disc(20) & ~disc(10)
    full = disc(20)
    out = [pseudo_boundary(m[None].float(), plain(m[None])) for m in (mask, full)]
    assert torch.equal(*out)


@pytest.mark.parametrize("radius", [18, 20, 22])
def test_the_contour_moves_to_the_edge_of_the_photograph(radius):
    true = torch.from_numpy(outline(disc(20).numpy()))[None]
    image, mask = photograph(disc(20)), disc(radius)[None].float()
    kept = pseudo_boundary(mask, image, tolerance=0.0)
    assert torch.equal(kept[0], torch.from_numpy(outline(mask[0].bool().numpy())))
    moved = pseudo_boundary(mask, image)
    near = 1.5 / (60**2 + 70**2) ** 0.5
    assert match_boundaries(moved, true, tolerance=near)[0].sum() > 0.9 * moved.sum()
    if radius != 20:
        assert match_boundaries(kept, true, tolerance=near)[0].sum() < 0.5 * kept.sum()
    # An edge farther away than the tolerance moves nothing.
    if radius != 20:
        assert torch.equal(pseudo_boundary(mask, image, tolerance=0.9), kept)


def test_where_no_edge_is_near_the_contour_stays_and_is_closed():
    right = torch.arange(70) > 33
    image = photograph(disc(20) & right)
    image[..., :34] = 0.5  # nothing to see on the left
    image[..., 34:37] = 0.5
    mask = disc(18)[None].float()
    out, kept = pseudo_boundary(mask, image), pseudo_boundary(mask, image, tolerance=0.0)
    assert torch.equal(out[..., :28], kept[..., :28])
    assert not torch.equal(out, kept)
    # Closed: what is not boundary falls into inside and outside, by steps of one pixel.
    assert ndimage.label(~out[0].numpy())[1] == 2
    assert torch.equal(thin(out), out)


def test_strong_edges_only_where_asked_for():
    image = 0.5 + 0.1 * photograph(disc(20))
    mask = disc(18)[None].float()
    kept = pseudo_boundary(mask, image, tolerance=0.0)
    assert torch.equal(pseudo_boundary(mask, image, low=600.0, high=900.0), kept)
    assert not torch.equal(pseudo_boundary(mask, image, low=10.0, high=20.0), kept)


def test_an_object_at_the_border_of_the_image_is_open_there():
    mask = torch.zeros(1, 30, 40)
    mask[0, 10:20, :25] = 1
    for image in (photograph(mask[0].bool()), plain(mask)):
        out = pseudo_boundary(mask, image)
        assert not out[:, [0, -1]].any()
        assert not out[:, :, [0, -1]].any()
        assert out[0, :, 1].sum() == out[0, :, 12].sum() == 2
    assert out[0, [10, 19], 1:24].all()
    assert out[0, 11:19, 24].all()
    whole = torch.ones(1, 30, 40)
    assert not pseudo_boundary(whole, plain(whole)).any()


def test_threshold_is_strict_and_values_beyond_the_range_are_clipped():
    mask = torch.zeros(1, 5, 5)
    mask[0, 2, 2] = 0.5
    assert not pseudo_boundary(mask, plain(mask)).any()
    assert pseudo_boundary(mask, plain(mask), threshold=0.4).nonzero().tolist() == [[0, 2, 2]]
    image, mask = photograph(disc(20)), disc(18)[None].float()
    wide = image.round() * 7 - 3
    expected = pseudo_boundary(mask, image.round())
    assert torch.equal(pseudo_boundary(mask, wide), expected)


def test_no_mask_and_what_is_not_finite_has_no_boundary():
    mask, image = disc(18)[None].float().repeat(4, 1, 1), photograph(disc(20)).repeat(4, 1, 1, 1)
    one = pseudo_boundary(mask[:1], image[:1])
    mask[1] = 0.2
    mask[2, 0, 0] = float("nan")
    image[3, 1, 5, 5] = float("inf")
    out = pseudo_boundary(mask, image)
    assert torch.equal(out[:1], one)
    assert not out[1:].any()


def test_images_of_a_batch_are_independent_and_inputs_unchanged():
    mask = torch.stack([disc(18), disc(12, center=(30.0, 20.0))]).float()
    image = torch.cat([photograph(disc(20)), photograph(disc(13, center=(30.0, 20.0)))])
    before = mask.clone(), image.clone()
    both = pseudo_boundary(mask, image)
    assert both.dtype == torch.bool
    alone = [pseudo_boundary(mask[i : i + 1], image[i : i + 1]) for i in range(2)]
    assert torch.equal(both, torch.cat(alone))
    assert torch.equal(mask, before[0])
    assert torch.equal(image, before[1])
    assert pseudo_boundary(mask[:0], image[:0]).shape == (0, 60, 70)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_precision(dtype):
    mask, image = disc(18)[None].to(dtype), photograph(disc(20)).to(dtype)
    assert_close(pseudo_boundary(mask, image), pseudo_boundary(mask.float(), image.float()))
    image.requires_grad_()
    assert not pseudo_boundary(mask.requires_grad_(), image).requires_grad


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 5), (3, 3)])
def test_tiny_images(size):
    mask = torch.ones(1, *size)
    assert not pseudo_boundary(mask, torch.rand(1, 3, *size)).any()
    if size == (3, 3):
        mask[:] = 0
        mask[0, 1, 1] = 1
        assert torch.equal(pseudo_boundary(mask, plain(mask)), mask.bool())


MASK, IMAGE = torch.zeros(2, 4, 5), torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (MASK.bool(), IMAGE),
            {},
            TypeError,
            "mask_probability: expected a floating-point dtype, got torch.bool",
        ),
        (
            (MASK, IMAGE.double()),
            {},
            TypeError,
            "image: expected torch.float32 as mask_probability, got torch.float64",
        ),
        (
            (IMAGE, IMAGE),
            {},
            ValueError,
            "mask_probability: expected shape (B, H, W), got (2, 3, 4, 5)",
        ),
        (
            (MASK, IMAGE[:, :2]),
            {},
            ValueError,
            "image: expected shape (B, 3, H, W), got (2, 2, 4, 5)",
        ),
        (
            (MASK, IMAGE[:1]),
            {},
            ValueError,
            "image: expected shape (B, 3, H, W) with B=2 from mask_probability, got (1, 3, 4, 5)",
        ),
        (
            (MASK, IMAGE),
            {"threshold": float("nan")},
            ValueError,
            "threshold: expected a number, got nan",
        ),
        (
            (MASK, IMAGE),
            {"low": 300.0},
            ValueError,
            "low: expected 0 <= low <= high, got low=300.0 and high=200.0",
        ),
        (
            (MASK, IMAGE),
            {"tolerance": -1.0},
            ValueError,
            "tolerance: expected a finite number >= 0, got -1.0",
        ),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        pseudo_boundary(*arguments, **options)
