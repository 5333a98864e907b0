import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import instances as reference
from tests.references.normalize import every_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator
from wsolrefine import connected_components, instance_labels

inf, nan = math.inf, math.nan
PROMINENCES = st.sampled_from([0.0, 0.05, 0.15, 0.3, 0.6])
AREAS = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0])
OPTIONS = {
    "threshold": st.sampled_from([-0.1, 0.07, 0.33, 0.61, 0.97]),
    "min_prominence": PROMINENCES,
    "min_area": AREAS,
}


@st.composite
def maps(draw, *, levels=(None, None, 2, 5), maximum=9):
    """Maps in [0, 1] of noise or of smooth hills; with few levels most pixels have equals."""
    b, h, w = draw(st.integers(1, 3)), draw(st.integers(1, maximum)), draw(st.integers(1, maximum))
    k = draw(st.sampled_from([(), (1,), (3,)]))
    values = torch.rand(b, *k, h, w, generator=generator(draw(SEEDS)), dtype=torch.float64)
    if draw(st.booleans()) and min(h, w) > 2:
        shape = values.shape
        coarse = values[..., ::3, ::3].reshape(-1, 1, *values[..., ::3, ::3].shape[-2:])
        values = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear").reshape(shape)
    steps = draw(st.sampled_from(levels))
    return values if steps is None else (values * steps).round() / steps


def expected(values, threshold, min_prominence, min_area):
    def one(map):
        return reference.instance_labels(map, threshold, min_prominence, min_area)

    return torch.from_numpy(every_map(one, values.numpy()))


@given(maps(), st.fixed_dictionaries(OPTIONS))
def test_matches_reference(values, options):
    out = instance_labels(values, **options)
    assert out.dtype == torch.int64
    assert torch.equal(out, expected(values, **options))


@given(maps(levels=(None, 4)), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_matches_reference_in_every_precision(values, dtype):
    values = values.to(dtype)
    out = instance_labels(values, threshold=0.25, min_prominence=0.125, min_area=0.1)
    assert torch.equal(out, expected(values.double(), 0.25, 0.125, 0.1))


@given(maps(), OPTIONS["threshold"])
def test_defaults(values, threshold):
    options = {"min_prominence": 0.3, "min_area": 0.01}
    out = instance_labels(values, threshold=threshold)
    assert torch.equal(out, instance_labels(values, threshold=threshold, **options))


@given(maps(maximum=14), st.fixed_dictionaries(OPTIONS))
def test_objects_are_connected_and_numbered_by_peak(values, options):
    labels = instance_labels(values, **options).reshape(-1, *values.shape[-2:])
    for map, of_map in zip(values.reshape(labels.shape), labels, strict=True):
        numbers = range(1, int(of_map.max()) + 1)
        masks = [of_map == number for number in numbers]
        assert all(mask.any() for mask in masks)  # no gap
        assert all(connected_components(mask[None]).max() == 1 for mask in masks)
        peaks = [map[mask].max() for mask in masks]
        assert peaks == sorted(peaks, reverse=True)
        assert (map[of_map > 0] > options["threshold"]).all()
        least = options["min_area"] * map.numel()
        assert len(masks) == 1 or sum(int(mask.sum()) < least for mask in masks) <= 1


@given(maps(maximum=14), OPTIONS["threshold"])
def test_above_the_range_of_a_map_they_are_the_components(values, threshold):
    labels = instance_labels(values, threshold=threshold, min_prominence=1, min_area=0)
    components = connected_components(values > threshold)
    assert torch.equal(labels > 0, values > threshold)
    assert same_partition(labels, components)


@given(maps(maximum=12), OPTIONS["threshold"], PROMINENCES, PROMINENCES)
def test_a_larger_prominence_joins_objects_and_cuts_none(values, threshold, one, other):
    few, many = (
        instance_labels(values, threshold=threshold, min_prominence=least, min_area=0)
        for least in (max(one, other), min(one, other))
    )
    for coarse, fine in zip(few.flatten(0, -3), many.flatten(0, -3), strict=True):
        pairs = set(zip(fine.flatten().tolist(), coarse.flatten().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs})


def same_partition(one, other):
    size = one.shape[-2] * one.shape[-1]
    for image in torch.stack([one, other], -1).reshape(-1, size, 2):
        found = {tuple(pair) for pair in image.tolist()}
        if not len(found) == len({a for a, _ in found}) == len({b for _, b in found}):
            return False
    return True


@given(maps(levels=(None,), maximum=12), st.fixed_dictionaries(OPTIONS), FLIPS)
def test_a_flip_flips_the_objects(values, options, how):
    """Up to the choice among equal areas, which is made in reading order."""
    options["min_area"] = 0
    values = values + 1e-3 * torch.rand(values.shape, generator=generator(0), dtype=values.dtype)
    flipped = instance_labels(flip(values, how), **options)
    assert torch.equal(flip(flipped, how), instance_labels(values, **options))


@given(maps(), st.fixed_dictionaries(OPTIONS), st.sampled_from([2.0**-100, 0.5, 2.0**100]))
def test_the_unit_does_not_matter(values, options, unit):
    scaled = {name: options[name] * unit for name in ("threshold", "min_prominence")}
    out = instance_labels(values * unit, **scaled, min_area=options["min_area"])
    assert torch.equal(out, instance_labels(values, **options))


def hills(*centers, side=224, width=30):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    each = [
        height * (-((y - v) ** 2 + (x - u) ** 2) / (2 * width**2)).exp() for height, v, u in centers
    ]
    return torch.stack(each).amax(0)[None]


def test_hills_that_touch_are_two_objects():
    map = hills((1.0, 60, 60), (0.8, 150, 150), width=40)
    labels = instance_labels(map, threshold=0.2)
    assert labels[0, 60, 60] == 1
    assert labels[0, 150, 150] == 2
    assert connected_components(labels > 0).max() == 1  # they touch
    assert connected_components(map > 0.2).max() == 1
    assert instance_labels(map, threshold=0.2, min_prominence=0.7).max() == 1


def test_the_shoulder_of_a_hill_is_no_object():
    map = hills((1.0, 60, 60), (0.8, 95, 95))
    assert instance_labels(map, threshold=0.2).max() == 1
    assert instance_labels(map, threshold=0.2, min_prominence=0.05).max() == 2


def test_noise_on_a_hill_makes_no_objects():
    map = hills((0.9, 112, 112)) + 0.05 * torch.rand(1, 224, 224, generator=generator(0))
    assert instance_labels(map, threshold=0.2, min_prominence=0, min_area=0).max() > 100
    assert instance_labels(map, threshold=0.2).max() == 1


def test_maps_do_not_touch():
    """The last row of a map is not a neighbor of the first row of the next."""
    out = instance_labels(torch.ones(4, 3, 5), threshold=0.5)
    assert torch.equal(out, torch.ones(4, 3, 5, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(0, 3, 4), (0, 2, 3, 4), (1, 1, 1), (2, 1, 6), (2, 6, 1)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_maps_are_one_object_or_none(shape, value):
    out = instance_labels(torch.full(shape, value), threshold=0.5)
    assert torch.equal(out, torch.full(shape, int(value > 0.5)))


def test_of_small_objects_the_largest_stays():
    map = torch.zeros(1, 20, 20)
    map[0, 2, 2] = 1.0
    map[0, 9:11, 9] = 0.9
    map[0, 15:17, 15] = 0.9
    out = instance_labels(map, threshold=0.5)  # 1 % is 4 pixels
    assert torch.equal(out.nonzero(), torch.tensor([[0, 9, 9], [0, 10, 9]]))
    assert out.max() == 1
    assert instance_labels(map, threshold=0.5, min_area=2 / 400).max() == 2
    assert instance_labels(map, threshold=0.5, min_area=0).max() == 3


def test_values_that_are_not_finite():
    map = torch.tensor([[[nan, 0.9, inf, 0.2, inf, -inf]]])
    options = {"threshold": 0.1, "min_area": 0}
    assert instance_labels(map, **options).tolist() == [[[0, 1, 1, 1, 2, 0]]]
    assert instance_labels(torch.full((1, 2, 2), inf), **options).tolist() == [[[1, 1], [1, 1]]]
    assert not instance_labels(torch.full((1, 2, 2), nan), **options).any()
    bad = torch.rand(2, 8, 8, generator=generator(0))
    bad[1] = nan
    alone = instance_labels(bad[:1], threshold=0.5)
    assert torch.equal(instance_labels(bad, threshold=0.5)[:1], alone)


@pytest.mark.parametrize("extreme", [torch.finfo(torch.float32).max, torch.finfo().tiny])
def test_extreme_maps(extreme):
    map = torch.tensor([[[0.9, 0.2, 1.0]]]) * extreme
    found = instance_labels(map, threshold=0.1 * extreme, min_prominence=0.5 * extreme)
    assert found.tolist() == [[[2, 1, 1]]]
    signed = torch.tensor([[[1.0, -1.0, 0.5]]]) * extreme  # the span overflows
    assert instance_labels(signed, threshold=-1e39, min_prominence=0).tolist() == [[[1, 1, 2]]]


def test_it_has_no_gradient():
    map = torch.rand(1, 4, 5, requires_grad=True)
    assert not instance_labels(map, threshold=0.5).requires_grad
    with torch.inference_mode():
        assert instance_labels(torch.rand(1, 4, 5), threshold=-1).all()


@pytest.mark.parametrize("density", [0.0, 0.5])
def test_noise_at_full_size(density):
    """Thousands of peaks, some of them on plateaus of many pixels."""
    map = torch.rand(2, 60, 50, generator=generator(0), dtype=torch.float64)
    map = map.where(map > density, density)
    for least in (0.0, 0.4):
        out = instance_labels(map, threshold=-1, min_prominence=least, min_area=0)
        assert torch.equal(out, expected(map, -1, least, 0))


@pytest.mark.parametrize(
    ("maps", "options", "error", "message"),
    [
        ([[1.0]], {}, TypeError, "maps: expected a torch.Tensor, got list"),
        (
            torch.ones(1, 2, 2, dtype=torch.bool),
            {},
            TypeError,
            "maps: expected a floating-point dtype, got torch.bool",
        ),
        (
            torch.ones(2, 2),
            {},
            ValueError,
            "maps: expected shape (B, H, W) or (B, K, H, W), got (2, 2)",
        ),
        (
            torch.ones(1, 2, 2),
            {"threshold": nan},
            ValueError,
            "threshold: expected a finite number, got nan",
        ),
        (
            torch.ones(1, 2, 2),
            {"threshold": "0.5"},
            TypeError,
            "threshold: expected a finite number, got str",
        ),
        (
            torch.ones(1, 2, 2),
            {"min_prominence": -0.1},
            ValueError,
            "min_prominence: expected a finite number >= 0, got -0.1",
        ),
        (
            torch.ones(1, 2, 2),
            {"min_area": 1.5},
            ValueError,
            "min_area: expected a number in [0, 1], got 1.5",
        ),
    ],
)
def test_errors(maps, options, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        instance_labels(maps, **{"threshold": 0.5, **options})
