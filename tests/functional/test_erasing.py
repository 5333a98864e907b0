import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare
from torch.testing import assert_close

from tests.support.strategies import SEEDS, generator
from wsolrefine import attentive_erasing

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def peaked(batch, height, width, row, column):
    """Maps of 0.6 with one peak, so that every pixel of the rectangle is a candidate."""
    maps = torch.full((batch, height, width), 0.6)
    maps[:, row, column] = 1.0
    return maps


def sides(erased):
    """Heights and widths of the erased rectangles, which are erased whole."""
    height, width = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(erased.sum((1, 2)), height * width)
    return height, width


@st.composite
def calls(draw):
    """Maps in [0, 1], (B, H, W), and the options of a call."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    probability = torch.rand(shape, generator=generator(draw(SEEDS)), dtype=torch.float64)
    least, most = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    threshold, drop = draw(st.floats(-0.1, 1.1)), draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    options = {"threshold": threshold, "drop": drop, "size": (least, most)}
    return probability, options, draw(SEEDS)


@given(calls())
def test_touches_only_candidates_and_leaves_the_argument_alone(call):
    probability, options, seed = call
    before = probability.clone()
    out = attentive_erasing(probability, **options, generator=generator(seed))
    assert torch.equal(probability, before)
    assert (out.shape, out.dtype) == (probability.shape, probability.dtype)
    changed = out != probability
    assert not out[changed].any()  # erased is zero; nothing is scaled up in return
    assert (probability[changed] > options["threshold"]).all()
    # Drawn in single precision, in which a half may round either way.
    largest = [max(int(options["size"][1] * n + 0.5001), 1) for n in probability.shape[1:]]
    for image, values in zip(changed, probability, strict=True):
        peak = np.unravel_index(values.argmax().item(), values.shape)
        for axis in (0, 1):
            places = image.any(1 - axis).nonzero()[:, 0] - peak[axis]
            assert (places >= -((largest[axis] - 1) // 2)).all()
            assert (places <= largest[axis] // 2).all()


@given(calls())
def test_the_generator_decides_everything(call):
    probability, options, seed = call
    first, second = (
        attentive_erasing(probability, **options, generator=generator(seed)) for _ in range(2)
    )
    assert torch.equal(first, second)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        assert torch.equal(attentive_erasing(probability, **options), first)


def interval(peak, side, length):
    """The places of a rectangle's side about the peak; of an even number one more lies after it."""
    pixels = max(round(side * length), 1)
    return range(peak - (pixels - 1) // 2, peak + pixels // 2 + 1)


@given(calls(), st.integers(0, 8).map(lambda eighths: eighths / 8))
def test_drop_of_one_erases_every_candidate_and_of_zero_none(call, side):
    probability, options, _ = call
    options["size"] = (side, side)
    expected = probability.clone()
    for image in expected:
        peak = np.unravel_index(image.argmax().item(), image.shape)
        for row, column in np.ndindex(*image.shape):
            inside = row in interval(peak[0], side, image.shape[0])
            inside &= column in interval(peak[1], side, image.shape[1])
            if inside and image[row, column] > options["threshold"]:
                image[row, column] = 0.0
    options["drop"] = 1.0
    assert torch.equal(attentive_erasing(probability, **options), expected)
    options["drop"] = 0.0
    assert torch.equal(attentive_erasing(probability, **options), probability)


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [
        (4, 5, range(3, 6), range(4, 8)),  # three about the peak; of four one more after it
        (0, 0, range(2), range(3)),  # cut at the border, not pushed inwards
        (8, 9, range(7, 9), range(8, 10)),
    ],
)
def test_the_rectangle(row, column, rows, columns):
    out = attentive_erasing(peaked(1, 9, 10, row, column), drop=1.0, size=(0.375, 0.375))
    erased = out[0] == 0
    assert erased.any(1).nonzero()[:, 0].tolist() == [*rows]
    assert erased.any(0).nonzero()[:, 0].tolist() == [*columns]
    assert erased.sum() == len(rows) * len(columns)


def test_the_first_of_equal_peaks_is_the_centre():
    maps = torch.zeros(1, 6, 6)
    maps[0, 1, 4] = maps[0, 4, 1] = 0.9
    out = attentive_erasing(maps, drop=1.0, size=(0.2, 0.2))
    assert out[0, 1, 4] == 0
    assert_close(out[0, 4, 1], maps[0, 4, 1])


def test_the_comparison_is_strict():
    maps = torch.tensor([[[0.5, 0.5000001, 1.0, 0.4999999]]])
    out = attentive_erasing(maps, drop=1.0, size=(1.0, 1.0))
    assert (out == 0).tolist() == [[[False, True, True, False]]]


# --- chances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_candidates_are_erased_with_the_stated_probability(drop, dtype):
    maps = peaked(300, 12, 12, 6, 6).to(dtype)
    out = attentive_erasing(maps, drop=drop, size=(0.5, 0.5), generator=generator(1))
    rectangle = (out == 0).any(0)
    assert rectangle.sum() == 36
    counts = (out == 0).sum(0)[rectangle].double().numpy()  # of 300 each
    observed = np.stack([counts, 300 - counts])
    expected = np.broadcast_to([[300 * drop], [300 * (1 - drop)]], observed.shape)
    statistic = ((observed - expected) ** 2 / expected).sum()
    # 36 binomial counts: chi-square with 36 degrees of freedom, mean 36, deviation 8.5.
    assert 12 < statistic < 75
    assert abs(counts.sum() / (300 * 36) - drop) < 4 * (drop * (1 - drop) / (300 * 36)) ** 0.5


def test_pixels_and_images_are_drawn_apart():
    out = attentive_erasing(
        peaked(400, 10, 10, 5, 5), drop=0.5, size=(0.2, 0.2), generator=generator(2)
    )
    erased = (out == 0).double().flatten(1)
    erased = erased[:, erased.any(0)]
    assert erased.shape == (400, 4)
    between_pixels = torch.corrcoef(erased.T) - torch.eye(4)
    assert between_pixels.abs().amax() < 0.2  # four standard deviations
    following = torch.corrcoef(torch.stack([erased[:-1].flatten(), erased[1:].flatten()]))[0, 1]
    assert abs(following) < 0.1


def test_sides_are_uniform_and_drawn_apart():
    maps = peaked(4000, 40, 20, 20, 10)
    out = attentive_erasing(maps, drop=1.0, generator=generator(3))
    heights, widths = sides(out == 0)
    # From 4 to 20 rows and from 2 to 10 columns; the ends have half an interval each.
    for counted, least, most in ((heights, 4, 20), (widths, 2, 10)):
        counts = torch.bincount(counted, minlength=most + 1)[least:]
        assert len(counts) == most - least + 1
        assert counts.sum() == 4000
        share = np.ones(len(counts))
        share[[0, -1]] = 0.5
        assert chisquare(counts.numpy(), 4000 * share / share.sum()).pvalue > 0.001
    table = np.histogram2d(heights.numpy(), widths.numpy(), bins=(4, 4))[0]
    assert chi2_contingency(table).pvalue > 0.001


def test_defaults():
    maps = torch.rand(5, 14, 14, generator=generator(0))
    out = attentive_erasing(maps, generator=generator(4))
    same = attentive_erasing(maps, threshold=0.5, drop=0.5, size=(0.1, 0.5), generator=generator(4))
    assert torch.equal(out, same)
    assert (out != maps).any()


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16], ids=str)
def test_the_default_dtype_has_no_part_in_it(other):
    maps = torch.rand(5, 14, 14, generator=generator(0))
    expected = attentive_erasing(maps, generator=generator(4))
    before = torch.get_default_dtype()
    torch.set_default_dtype(other)
    try:
        assert torch.equal(attentive_erasing(maps, generator=generator(4)), expected)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_dtype_has_no_part_in_it(dtype, device):
    maps = (torch.rand(3, 8, 9, generator=generator(0)) * 255).round() / 256  # exact in bfloat16
    maps = maps.to(torch.bfloat16)
    source = torch.Generator(device).manual_seed(4)
    out = attentive_erasing(maps.to(device, dtype), generator=source)
    source.manual_seed(4)
    expected = attentive_erasing(maps.to(device).double(), generator=source)
    assert (out.dtype, out.device) == (dtype, maps.to(device).device)
    assert torch.equal(out.double(), expected)


# --- gradients, degenerate input ------------------------------------------------------------------


@given(calls())
def test_erased_pixels_have_no_gradient_and_the_others_are_passed_on(call):
    probability, options, seed = call
    probability.requires_grad_()
    out = attentive_erasing(probability, **options, generator=generator(seed))
    weight = torch.rand(out.shape, dtype=out.dtype)
    out.backward(weight)
    erased = (out != probability).detach()
    assert torch.equal(probability.grad, weight.masked_fill(erased, 0.0))


@pytest.mark.parametrize("value", [0.0, 0.5, 0.7, 1.0])
def test_a_constant_map_is_erased_about_its_first_pixel(value):
    out = attentive_erasing(torch.full((2, 8, 8), value), drop=1.0, size=(0.5, 0.5))
    expected = torch.full((8, 8), value)
    if value > 0.5:
        expected[:3, :3] = 0  # four pixels about the corner, one before it, two after
    assert torch.equal(out, expected.expand(2, 8, 8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_stays_with_its_map(bad):
    maps = torch.rand(3, 8, 8, generator=generator(0))
    clean = attentive_erasing(maps, generator=generator(1))
    broken = maps.clone()
    broken[1, 3, 3] = bad
    out = attentive_erasing(broken, generator=generator(1))
    assert torch.equal(out[[0, 2]], clean[[0, 2]])
    assert out[1].isnan().sum() == broken[1].isnan().sum()  # NaN is above no threshold
    kept = out[1] == broken[1]
    assert not out[1][~kept].nan_to_num().any()


def test_one_pixel():
    assert attentive_erasing(torch.ones(1, 1, 1), drop=1.0).item() == 0
    assert attentive_erasing(torch.full((1, 1, 1), 0.5), drop=1.0).item() == 0.5


@pytest.mark.parametrize("size", [(0.0, 0.0), (0, 0), (0.01, 0.04)])
def test_the_rectangle_has_at_least_one_pixel(size):
    out = attentive_erasing(peaked(3, 9, 9, 4, 4), drop=1.0, size=size)
    assert (out == 0).sum() == 3
    assert not out[:, 4, 4].any()


def test_an_empty_batch():
    assert attentive_erasing(torch.zeros(0, 3, 4)).shape == (0, 3, 4)


def test_memory_layout_does_not_matter():
    maps = torch.rand(3, 5, 7, generator=generator(0))
    expected = attentive_erasing(maps, generator=generator(1))
    for layout in (maps.mT.contiguous().mT, torch.stack([maps, maps], -1)[..., 0]):
        assert torch.equal(attentive_erasing(layout, generator=generator(1)), expected)
    one = maps[:1].expand(4, 5, 7)
    out = attentive_erasing(one, drop=0.5, generator=generator(1))
    assert torch.equal(out, attentive_erasing(one.clone(), drop=0.5, generator=generator(1)))


def test_compiles_without_graph_breaks_and_reads_no_values():
    torch.compiler.reset()
    maps = torch.rand(2, 6, 6, generator=generator(0))
    compiled = torch.compile(attentive_erasing, fullgraph=True, backend="eager")
    assert torch.equal(compiled(maps, drop=0.0), maps)
    whole = compiled(maps, drop=1.0, size=(1.0, 1.0), threshold=0.5)
    assert torch.equal(whole, attentive_erasing(maps, drop=1.0, size=(1.0, 1.0)))
    assert attentive_erasing(maps.to("meta")).shape == maps.shape


@pytest.mark.parametrize(
    ("probability", "options", "error", "message"),
    [
        ([[[1.0]]], {}, TypeError, "probability: expected a torch.Tensor, got list"),
        (
            torch.ones(1, 2, 2).bool(),
            {},
            TypeError,
            "probability: expected a floating-point dtype, got torch.bool",
        ),
        (
            torch.ones(1, 1, 2, 2),
            {},
            ValueError,
            "probability: expected shape (B, H, W), got (1, 1, 2, 2)",
        ),
        (
            torch.ones(2, 0, 3),
            {},
            ValueError,
            "probability: expected shape (B, H, W) with H >= 1, got (2, 0, 3)",
        ),
        *(
            (
                torch.ones(1, 2, 2),
                {"drop": drop},
                ValueError,
                f"drop: expected a number in [0, 1], got {drop}",
            )
            for drop in (-0.1, 1.5, float("nan"))
        ),
        *(
            (
                torch.ones(1, 2, 2),
                {"size": size},
                ValueError,
                f"size: expected 0 <= least <= largest <= 1, got {size}",
            )
            for size in ((0.5, 0.1), (-0.1, 0.5), (0.1, 1.1))
        ),
        (
            torch.rand(1, 4, 4),
            {"size": (float("nan"), 0.5)},
            ValueError,
            "size: expected finite numbers, got (nan, 0.5)",
        ),
    ],
)
def test_errors(probability, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        attentive_erasing(probability, **options)
