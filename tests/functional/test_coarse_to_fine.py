import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torch.testing import assert_close

from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine import coarse_to_fine, conv_crf


def reference(map, image, threshold, scales, kernel_size):
    """One map ``(H, W)`` after the other, written out."""
    p = map.clamp(0.01, 0.99)
    logit = torch.tensor(threshold / (1 - threshold), dtype=map.dtype).log()
    unary = torch.stack([torch.log(1 - p), torch.log(p) - logit])[None]
    for scale in scales:
        size = [(side + scale - 1) // scale for side in map.shape]
        scores = interpolate(unary, size, mode="bilinear", antialias=True)
        colors = interpolate(image[None], size, mode="bilinear", antialias=True)
        probability = conv_crf(scores, colors, kernel_size=kernel_size)
        unary = interpolate(probability.clamp_min(1e-4).log(), map.shape, mode="bilinear")
    return interpolate(probability, map.shape, mode="bilinear")[0, 1]


@given(
    seed=SEEDS,
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    threshold=st.sampled_from([0.2, 0.45, 0.8]),
    scales=st.sampled_from([(1,), (2, 1), (4, 2, 1), (2,)]),
    kernel_size=st.sampled_from([1, 3, 5]),
)
def test_matches_the_reference(seed, size, threshold, scales, kernel_size):
    g = generator(seed)
    maps = torch.rand(2, 2, *size, generator=g, dtype=torch.float64)
    image = torch.rand(2, 3, *size, generator=g, dtype=torch.float64)
    options = {"threshold": threshold, "scales": scales, "kernel_size": kernel_size}
    found = coarse_to_fine(maps, image, **options)
    for b in range(2):
        for k in range(2):
            assert_close(found[b, k], reference(maps[b, k], image[b], **options))
        assert_close(
            coarse_to_fine(maps[b : b + 1, 0], image[b : b + 1], **options)[0], found[b, 0]
        )
    assert 0 <= found.min() <= found.max() <= 1


@given(seed=SEEDS, axes=FLIPS)
def test_turns_with_the_image(seed, axes):
    g = generator(seed)
    # Sides that every scale divides: else the coarse grids do not mirror.
    maps, image = torch.rand(1, 8, 8, generator=g), torch.rand(1, 3, 8, 8, generator=g)
    assert_close(
        flip(coarse_to_fine(maps, image, kernel_size=3), axes),
        coarse_to_fine(flip(maps, axes), flip(image, axes), kernel_size=3),
        atol=1e-4,
        rtol=1e-4,
    )


def test_a_higher_threshold_leaves_less_object():
    maps = torch.linspace(0, 1, 16).expand(1, 16, 16)
    image = maps[:, None].expand(1, 3, 16, 16)  # a ramp: no edge to stop at
    areas = [
        (coarse_to_fine(maps, image, threshold=threshold) > 0.5).sum()
        for threshold in (0.2, 0.5, 0.8)
    ]
    assert areas[0] > areas[1] > areas[2]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_maps_and_colors_that_are_not_finite_are_zero(bad):
    maps, image = torch.rand(2, 2, 5, 6), torch.rand(2, 3, 5, 6)
    whole = coarse_to_fine(maps, image)
    spoiled = maps.clone()
    spoiled[0, 1, 2, 3] = bad
    found = coarse_to_fine(spoiled, image)
    assert not found[0, 1].any()
    assert_close(found[0, 0], whole[0, 0])
    assert_close(found[1], whole[1])
    colors = image.clone()
    colors[1, 0, 0, 0] = bad
    found = coarse_to_fine(maps, colors)
    assert not found[1].any()
    assert_close(found[0], whole[0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"threshold": 0.0}, ValueError, "threshold: expected a number in (0, 1), got 0.0"),
        (
            {"threshold": float("nan")},
            ValueError,
            "threshold: expected a number in (0, 1), got nan",
        ),
        ({"scales": ()}, ValueError, "scales: expected integers >= 1, got ()"),
        ({"scales": (2, 0)}, ValueError, "scales: expected integers >= 1, got (2, 0)"),
        ({"kernel_size": 4}, ValueError, "kernel_size: expected an odd integer >= 1, got 4"),
        ({"maps": torch.rand(5, 6)}, ValueError, "maps: expected shape (B, H, W) or (B, K, H, W)"),
        ({"image": torch.rand(2, 1, 5, 6)}, ValueError, "image: expected shape (B, 3, H, W)"),
        ({"image": torch.rand(2, 3, 5, 7)}, ValueError, "with W=6 from maps, got (2, 3, 5, 7)"),
        ({"maps": torch.ones(2, 5, 6).int()}, TypeError, "maps: expected a floating-point dtype"),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    arguments = {"maps": torch.rand(2, 5, 6), "image": torch.rand(2, 3, 5, 6), **change}
    with pytest.raises(error, match=re.escape(message)):
        coarse_to_fine(**arguments)
