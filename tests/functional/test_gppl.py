import re

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import wsolrefine
from tests.references import gaussian as reference
from tests.references.normalize import every_map, minmax
from tests.support.strategies import FLIPS, SEEDS, flip, generator, maps
from wsolrefine import fit_gaussian, gaussian_map, gppl, gppl_released, pseudo_label

CAMS = maps(ranks=(3, 4))


def paper(cam):
    cam = minmax(cam)
    if not cam.any():
        return cam
    return np.maximum(cam, reference.density(*reference.moments(cam), cam.shape))


@given(CAMS)
def test_matches_reference(cam):
    assert_close(gppl(cam), torch.from_numpy(every_map(paper, cam.numpy())))


@given(CAMS)
def test_is_the_maximum_of_the_map_and_its_gaussian(cam):
    out = gppl(cam)
    scaled = wsolrefine.minmax(cam)
    weighty = scaled.flatten(-2).any(-1)
    expected = torch.maximum(scaled, gaussian_map(fit_gaussian(scaled), cam.shape[-2:]))
    assert_close(out[weighty], expected[weighty])
    assert ((out >= scaled) & (out <= 1)).all()


@given(CAMS, FLIPS)
def test_flips(cam, how):
    assert_close(gppl(flip(cam, how)), flip(gppl(cam), how))


def test_a_constant_map_is_zero():
    cam = torch.stack([torch.zeros(3, 4), torch.full((3, 4), 0.7), torch.rand(3, 4)])
    out = gppl(cam)
    assert torch.equal(out[:2], torch.zeros(2, 3, 4))
    assert out[2].amax() > 0


# --- the released variant ---------------------------------------------------------------------------


@st.composite
def blobs(draw):
    """Smooth positive maps of one to four blobs, so that contours are thick and thresholds untied."""
    b, k = draw(st.integers(1, 2)), draw(st.sampled_from([(), (2,)]))
    h, w = draw(st.integers(4, 12)), draw(st.integers(4, 12))
    g = generator(draw(SEEDS))
    noise = torch.rand(b * (k or (1,))[0], 1, 4, 4, generator=g) ** 3  # float32, as theirs
    return F.interpolate(noise, (h, w), mode="bicubic").clamp(min=0).reshape(b, *k, h, w)


@given(blobs(), st.integers(20, 60), st.sampled_from([1.0, 3.0, 10.0]), st.sampled_from([3, 20]))
def test_released_matches_reference(cam, size, shrink, min_area):
    def one(values):
        return reference.gppl_released(values, size, 0.15, 0.6, shrink, min_area)

    out = gppl_released(cam, size=size, low=0.15, high=0.6, shrink=shrink, min_area=min_area)
    expected = torch.from_numpy(every_map(one, cam.numpy()))
    assert_close(out.double(), expected, rtol=0, atol=1e-6)
    assert ((out >= 0) & (out <= 1)).all()


def test_released_defaults():
    cam = torch.rand(1, 1, 5, 5, generator=generator(0))
    cam = F.interpolate(cam, (14, 14), mode="bilinear")[0]
    out = gppl_released(cam)
    assert out.shape == (1, 256, 256)
    same = gppl_released(cam, size=256, low=0.1, high=0.5, shrink=10, min_area=20)
    assert torch.equal(out, same)


def test_released_without_a_contour_is_zero():
    cam = torch.zeros(4, 8, 8)
    cam[1] = 1.0  # constant: everything is above the band
    cam[2, 4, 4] = float("nan")
    cam[3, 2:6, 2:6] = 1.0
    out = gppl_released(cam, size=64)
    assert torch.equal(out[:3], torch.zeros(3, 64, 64))
    assert out[3].amax() > 0.5
    assert torch.equal(gppl_released(cam[3:], size=64, min_area=5000), torch.zeros(1, 64, 64))


def test_released_contour_with_degenerate_moments_is_zero():
    cam = torch.zeros(1, 16, 16)
    cam[0, 0, 0] = 1.0
    cam[0, 8, 2:12] = 0.3  # one pixel wide: no variance across
    assert torch.equal(gppl_released(cam, size=16, min_area=0), torch.zeros(1, 16, 16))


NAMES = [
    "one_blob_28",
    "one_blob_14",
    "two_blobs_28",
    "three_blobs_28",
    "nonsquare_14x28",
    "noisy_28",
    "strong_plus_weak_28",
    "border_28",
]


@pytest.mark.parametrize("name", NAMES)
def test_golden_released(golden, name):
    """Their map; and their file: both maps times 255, resized to the image, cut to gray values."""
    case = golden("spol_gppl", name)
    gaus = gppl_released(torch.from_numpy(case["cam"])[None])[0].numpy()
    # The stored maps are every second row and column.
    assert_close(gaus[::2, ::2], case["gaus256"], rtol=0, atol=1e-6)
    fore = cv2.resize(case["cam"] / (case["cam"].max() + 1e-6), (256, 256))
    if "pred256" in case:
        assert_close(fore[::2, ::2], case["pred256"], rtol=0, atol=1e-6)
    both = np.stack([fore * 255, gaus * 255], -1)
    image = cv2.resize(both, tuple(case["WH"].tolist())).astype(np.uint8)
    assert np.abs(image.astype(int) - case["png_uint8_fore_gaus"]).max() <= 1


# --- pseudo labels ----------------------------------------------------------------------------------


@given(maps(ranks=(3, 4)), st.floats(-1, 1), st.floats(0, 1), st.sampled_from([255, 2, 0]))
def test_pseudo_label_matches_reference(cam, foreground, gap, ignore_index):
    background = foreground - gap
    out = pseudo_label(cam, foreground=foreground, background=background, ignore_index=ignore_index)
    expected = reference.pseudo_label(cam.numpy(), foreground, background, ignore_index)
    assert out.dtype == torch.uint8
    assert torch.equal(out, torch.from_numpy(expected))


def test_pseudo_label_defaults_and_strict_comparisons():
    cam = torch.tensor([[[0.5, 0.500001, 0.004, 0.003999, 0.2, float("nan")]]], dtype=torch.float64)
    assert pseudo_label(cam).tolist() == [[[255, 1, 255, 0, 255, 255]]]
    infinite = torch.tensor([[[float("inf"), -float("inf")]]])
    assert pseudo_label(infinite, ignore_index=7).tolist() == [[[1, 0]]]


def test_golden_truth_table(golden):
    """Their rule for all pairs of 8-bit CAM and Gaussian, from ours.

    Foreground is the same: either value above .25. Their background looks at the CAM alone, ours,
    as the paper's, at the maximum of both: they differ where a weak Gaussian lies on no CAM.
    """
    case = golden("spol_pseudo_label", "all_uint8_pairs")
    their_foreground = torch.from_numpy(case["mask_fore_row_gaus_col"]).bool()
    their_background = torch.from_numpy(case["weight"]).bool() & ~their_foreground
    gray = torch.arange(256, dtype=torch.float64) / 255
    fore, gaus = gray[:, None].expand(256, 256), gray.expand(256, 256)
    label = pseudo_label(torch.maximum(fore, gaus)[None], foreground=0.25, background=0.01)[0]
    assert torch.equal(label == 1, their_foreground)
    assert torch.equal(label == 0, their_background & (gaus < 0.01))
    cam_alone = pseudo_label(fore[None], foreground=0.25, background=0.01)[0]
    assert torch.equal((cam_alone == 0) & (label != 1), their_background)


@pytest.mark.parametrize(
    "name", ["one_blob_28", "two_blobs_28", "strong_plus_weak_28", "nonsquare_14x28"]
)
def test_golden_pseudo_label_of_images(golden, name):
    case = golden("spol_pseudo_label", name)
    fore, gaus = torch.from_numpy(case["png"]).double().div(255).permute(2, 0, 1)[:, None]
    label = pseudo_label(torch.maximum(fore, gaus), foreground=0.25, background=0.01)[0]
    cam_alone = pseudo_label(fore, foreground=0.25, background=0.01)[0]
    mask, weight = (torch.from_numpy(case[k]).bool() for k in ("mask", "weight"))
    assert torch.equal(label == 1, mask)
    assert torch.equal((label == 1) | (cam_alone == 0), weight)


@pytest.mark.parametrize("function", [gppl, gppl_released, pseudo_label])
@pytest.mark.parametrize(
    ("cam", "error", "message"),
    [
        ([[1.0]], TypeError, "cam: expected a torch.Tensor, got list"),
        (
            torch.ones(1, 2, 2, dtype=torch.uint8),
            TypeError,
            "cam: expected a floating-point dtype, got torch.uint8",
        ),
        (torch.ones(2, 4), ValueError, "cam: expected shape (B, H, W) or (B, K, H, W), got (2, 4)"),
    ],
)
def test_errors(function, cam, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        function(cam)
