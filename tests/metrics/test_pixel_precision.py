"""PxAP: published histograms and figures, and average precision by another route."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import pixel_precision as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.metrics import PxAP, count_scores, pixel_average_precision, thresholds_of

STEPS = {"01": 0.01, "001": 0.001}


def average_precision(maps, masks, **options):
    return pixel_average_precision(count_scores(maps, masks, **options)).average_precision.item()


def golden_inputs(golden):
    case = golden("wsol_mask_evaluator")
    maps = torch.from_numpy(case["scoremaps_u16"] / 1023.0)
    return case, maps, torch.from_numpy(case["gt_mask224"])


@pytest.mark.parametrize("name", STEPS)
def test_golden_figures_of_wsolevaluation(golden, name):
    case, maps, masks = golden_inputs(golden)
    steps = thresholds_of(STEPS[name])
    counts = [count_scores(maps[i, None], masks[i, None], thresholds=steps) for i in range(20)]
    for one, expected in zip(counts, case[f"ap_per_image_{name}"], strict=True):
        found = 100 * pixel_average_precision(one).average_precision.item()
        assert found == pytest.approx(expected, rel=0, abs=1e-9)
    whole = torch.stack(counts).sum(0)
    np.testing.assert_array_equal(whole[0].numpy(), case[f"gt_true_hist_{name}"])
    np.testing.assert_array_equal(whole[1].numpy(), case[f"gt_false_hist_{name}"])
    found = 100 * pixel_average_precision(whole).average_precision.item()
    assert found == pytest.approx(case[f"ap_{name}"].item(), rel=0, abs=1e-9)


def test_golden_figure_of_the_metric(golden):
    case, maps, masks = golden_inputs(golden)
    metric = PxAP(thresholds=thresholds_of(0.01))
    for some in (slice(0, 7), slice(7, 20)):
        metric.update(maps[some], masks[some])
    found = 100 * metric.details().average_precision.item()
    assert found == pytest.approx(case["ap_01"].item(), rel=0, abs=1e-9)


def test_the_default_step_is_a_thousandth(golden):
    case, maps, masks = golden_inputs(golden)
    counts = count_scores(maps[:1], masks[:1])
    expected = count_scores(maps[:1], masks[:1], thresholds=np.arange(0, 1, 0.001))
    assert torch.equal(counts, expected)
    assert counts.shape == (2, len(case["gt_true_hist_001"]))


# --- against another route --------------------------------------------------------------------------


@st.composite
def scored(draw):
    """Maps of continuous scores, of scores on the edges of bins, or of few; masks with ignored."""
    g = generator(draw(SEEDS))
    shape = tuple(draw(st.integers(1, n)) for n in (3, 6, 7))
    maps = torch.rand(shape, generator=g, dtype=torch.float64)
    kind = draw(st.sampled_from(["continuous", "edges", "beside edges", "few"]))
    if kind == "few":
        maps = (3 * maps).round() / 3
    elif kind != "continuous":
        k = torch.randint(0, 101, shape, generator=g)
        maps = torch.tensor([*thresholds_of(0.01), 1.0], dtype=torch.float64)[k]
    if kind == "beside edges":
        towards = torch.randint(0, 2, shape, generator=g, dtype=torch.float64)
        maps = torch.nextafter(maps, towards)
    labels = torch.tensor(draw(st.sampled_from([[0, 1], [0, 1, 255], [0, 7, 1, 255, 254]])))
    masks = labels[torch.randint(0, len(labels), shape, generator=g)]
    masks.flatten()[0] = 1  # at least one object pixel
    return maps, masks


@given(scored(), st.sampled_from([0.001, 0.01, 0.3, 1]))
def test_counts_and_average_precision_match_reference(case, step):
    maps, masks = case
    steps = thresholds_of(step)
    counts = count_scores(maps, masks, thresholds=steps)
    assert counts.dtype == torch.int64
    known = masks != 255
    scores, objects = maps[known].numpy(), masks[known].numpy() != 0
    for row, chosen in ((0, objects), (1, ~objects)):
        expected = np.histogram(scores[chosen], [*steps, 1.0, 2.0, 3.0])[0]
        np.testing.assert_array_equal(counts[row].numpy(), expected)
    expected = reference.ranked_average_precision(reference.binned(scores, steps), objects)
    result = pixel_average_precision(counts)
    assert result.average_precision.item() == pytest.approx(float(expected), rel=0, abs=1e-12)


@given(scored())
def test_curves_are_precision_and_recall_of_each_cut(case):
    maps, masks = case
    steps = thresholds_of(0.1)
    result = pixel_average_precision(count_scores(maps, masks, thresholds=steps))
    objects, others = masks.bool() & (masks != 255), masks == 0
    assert len(result.precision) == len(result.recall) == len(steps) + 2
    for at, cut in enumerate([2.0, 1.0, *reversed(steps)]):
        true, false = ((part & (maps >= cut)).sum().item() for part in (objects, others))
        assert result.recall[at].item() == pytest.approx(true / objects.sum().item())
        expected = true / (true + false) if true + false else 1
        assert result.precision[at].item() == pytest.approx(expected)
    assert all(part.dtype == torch.float64 for part in result)
    assert 0 < result.average_precision <= 1


@given(SEEDS, st.sampled_from([0.0, 0.3, 0.5, 0.999, 1.0]))
def test_a_constant_map_gives_the_share_of_object_pixels(seed, value):
    masks = torch.randint(0, 3, (2, 5, 6), generator=generator(seed))
    masks[0, 0, 0], masks[masks == 2] = 1, 255
    found = average_precision(torch.full((2, 5, 6), value), masks)
    share = (masks == 1).sum() / (masks != 255).sum()
    assert found == pytest.approx(share.item())


@given(SEEDS)
def test_a_perfect_map_gives_1_and_its_opposite_the_least(seed):
    masks = torch.rand(2, 5, 6, generator=generator(seed)) < 0.5
    masks[0, 0, :2] = torch.tensor([True, False])
    assert average_precision(masks.double(), masks) == 1
    ranked = torch.rand(masks.shape, generator=generator(seed + 1)) / 3 + 0.6 * masks
    assert average_precision(ranked, masks) == pytest.approx(1)
    share = masks.double().mean().item()
    assert average_precision(1 - masks.double(), masks) == pytest.approx(share)


@given(scored(), SEEDS)
def test_order_of_pixels_and_images_does_not_matter(case, seed):
    maps, masks = case
    order = torch.randperm(maps.numel(), generator=generator(seed))
    shuffled = [some.flatten()[order].reshape(1, 1, -1) for some in case]
    assert torch.equal(count_scores(*shuffled), count_scores(maps, masks))


@given(scored())
def test_ignored_pixels_might_be_absent(case):
    maps, masks = case
    known = masks != 255
    expected = count_scores(maps[known][None, None], masks[known][None, None])
    assert torch.equal(count_scores(maps, masks), expected)
    changed = maps.where(known, 1 - maps)
    assert torch.equal(count_scores(changed, masks), expected)


def test_pixels_are_pooled_over_images():
    """Ranked by themselves both images are perfect; together the second's object is behind."""
    maps = torch.tensor([[[0.9, 0.8]], [[0.3, 0.1]]])
    masks = torch.tensor([[[1, 0]], [[1, 0]]])
    assert [average_precision(maps[i : i + 1], masks[i : i + 1]) for i in (0, 1)] == [1, 1]
    assert average_precision(maps, masks) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_one_has_a_bin_of_its_own():
    maps = torch.tensor([[[0.0, 0.49, 0.5, 0.9999999999, 1.0]]], dtype=torch.float64)
    masks = torch.ones(1, 1, 5, dtype=torch.int64)
    for steps, expected in (
        ([0.0], [4, 1, 0]),
        ([0.0, 0.5], [2, 2, 1, 0]),
        ([0.0, 0.5, 1.0], [2, 2, 0, 1, 0]),
    ):
        assert count_scores(maps, masks, thresholds=steps)[0].tolist() == expected


def test_scores_are_not_rounded_to_float32():
    maps = torch.tensor([[[0.5 - 1e-12, 0.5]]], dtype=torch.float64)
    masks = torch.ones(1, 1, 2, dtype=torch.int64)
    assert count_scores(maps, masks, thresholds=[0, 0.5])[0].tolist() == [1, 1, 0, 0]
    assert count_scores(maps.float(), masks, thresholds=[0, 0.5])[0].tolist() == [0, 2, 0, 0]


def test_bins_are_those_of_arange():
    """0.35 is below the 35th float of arange(0, 1, 0.01)."""
    maps, masks = torch.tensor([[[0.35]]], dtype=torch.float64), torch.ones(1, 1, 1).long()
    assert thresholds_of(0.01)[35] > 0.35
    assert count_scores(maps, masks, thresholds=thresholds_of(0.01))[0].argmax() == 34
    exact = [k / 100 for k in range(100)]
    assert count_scores(maps, masks, thresholds=exact)[0].argmax() == 35


# --- kinds of input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_counts_take_every_precision(dtype):
    maps = torch.rand(2, 5, 6, generator=generator(0)).to(dtype)
    masks = torch.randint(0, 2, (2, 5, 6), generator=generator(1))
    out = count_scores(maps, masks)
    assert torch.equal(out, count_scores(maps.double(), masks))
    assert out.sum() == 60


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32])
def test_masks_take_every_whole_dtype(dtype):
    maps = torch.rand(2, 5, 6, generator=generator(0))
    masks = torch.randint(0, 2, (2, 5, 6), generator=generator(1))
    assert torch.equal(count_scores(maps, masks.to(dtype)), count_scores(maps, masks))


@pytest.mark.parametrize("ignored", [255, 2, 0, -100])
def test_any_label_may_be_the_ignored_one(ignored):
    labels = torch.tensor([0, 1, 2, 255, -100])
    masks = labels[torch.randint(0, 5, (1, 9, 9), generator=generator(2))]
    maps = torch.rand(1, 9, 9, generator=generator(3))
    counts = count_scores(maps, masks, ignore_index=ignored)
    rows = [((masks != 0) & (masks != ignored)).sum(), ((masks == 0) & (masks != ignored)).sum()]
    assert counts.sum(1).tolist() == [row.item() for row in rows]


@pytest.mark.parametrize(
    ("label", "dtype", "ignored"),
    [(156, torch.uint8, -100), (-1, torch.int8, 255), (0, torch.uint8, 256)],
)
def test_no_label_is_taken_for_an_ignored_one_that_its_dtype_cannot_hold(label, dtype, ignored):
    masks = torch.full((1, 2, 3), label, dtype=dtype)
    assert count_scores(torch.rand(1, 2, 3), masks, ignore_index=ignored).sum() == 6


def test_counts_take_every_layout_and_leave_arguments_alone():
    maps = torch.rand(3, 5, 6, generator=generator(4))
    masks = torch.randint(0, 2, (3, 5, 6), generator=generator(5))
    expected = count_scores(maps, masks)
    for turned in (maps.mT.contiguous().mT, torch.stack([maps] * 2, 3)[..., 0]):
        assert torch.equal(count_scores(turned, masks), expected)
        assert torch.equal(count_scores(turned, masks.mT.contiguous().mT), expected)
    assert torch.equal(count_scores(maps.clone().requires_grad_(), masks), expected)
    expanded = count_scores(maps[:1].expand(3, -1, -1), masks[:1].expand(3, -1, -1))
    assert torch.equal(expanded, 3 * count_scores(maps[:1], masks[:1]))


def test_counts_of_no_image():
    empty = torch.zeros(0, 4, 5)
    assert torch.equal(count_scores(empty, empty.long()), torch.zeros(2, 1002).long())


def test_counts_on_the_device(device):
    maps = torch.rand(2, 5, 6, generator=generator(6))
    masks = torch.randint(0, 3, (2, 5, 6), generator=generator(7))
    out = count_scores(maps.to(device), masks.to(device), ignore_index=2)
    assert out.device.type == device.type
    expected = count_scores(maps, masks, ignore_index=2)
    assert torch.equal(out.cpu(), expected)
    assert torch.equal(count_scores(maps.to(device), masks, ignore_index=2), out)
    for part, other in zip(
        pixel_average_precision(out), pixel_average_precision(expected), strict=True
    ):
        assert part.device.type == device.type
        assert_close(part.cpu(), other)


# --- what is refused --------------------------------------------------------------------------------

MAPS, MASKS = torch.rand(2, 4, 5), torch.ones(2, 4, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": [[0.0]]}, TypeError, r"maps: expected a torch\.Tensor, got list"),
        ({"maps": MAPS.int()}, TypeError, r"maps: expected a floating-point dtype, got torch\.int"),
        ({"maps": MAPS > 0}, TypeError, r"maps: expected a floating-point dtype, got torch\.bool"),
        ({"maps": MAPS[0]}, ValueError, r"maps: expected shape \(B, H, W\), got \(4, 5\)"),
        ({"maps": 2 + MAPS}, ValueError, r"maps: expected values in \[0, 1\], got 2"),
        ({"maps": MAPS - 2}, ValueError, r"maps: expected values in \[0, 1\], got -"),
        ({"maps": MAPS * torch.nan}, ValueError, r"maps: expected values in \[0, 1\], got values that are NaN"),
        ({"masks": [[0]]}, TypeError, r"masks: expected a torch\.Tensor, got list"),
        ({"masks": MAPS}, TypeError, "masks: expected an integer or boolean dtype, got torch.float32"),
        ({"masks": MAPS + 0j}, TypeError, "masks: expected an integer or boolean dtype, got torch.com"),
        ({"masks": MASKS[:1]}, ValueError, r"masks: expected shape \(2, 4, 5\) as maps, got \(1, 4, 5\)"),
        ({"masks": MASKS.mT}, ValueError, r"masks: expected shape \(2, 4, 5\) as maps, got \(2, 5, 4\)"),
        ({"thresholds": [0.1, 0.5]}, ValueError, r"thresholds: expected the first to be 0, got 0\.1"),
        ({"thresholds": []}, ValueError, r"thresholds: expected numbers in \[0, 1\], got \[\]"),
        ({"thresholds": [0.0, 0.5, 0.2]}, ValueError, "thresholds: expected rising numbers"),
        ({"thresholds": [0.0, 0.5, 1.2]}, ValueError, r"thresholds: expected numbers in \[0, 1\]"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(change, error, message):
    arguments = {"maps": MAPS, "masks": MASKS, **change}
    with pytest.raises(error, match=message):
        count_scores(arguments.pop("maps"), arguments.pop("masks"), **arguments)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 2, 4)])
def test_wrong_counts_are_refused(shape):
    with pytest.raises(ValueError, match=r"counts: expected shape \(2, bins\), got \("):
        pixel_average_precision(torch.ones(shape, dtype=torch.int64))


def test_without_an_object_pixel_there_is_no_precision():
    for masks in (torch.zeros_like(MASKS), torch.full_like(MASKS, 255)):
        result = pixel_average_precision(count_scores(MAPS, masks))
        assert result.average_precision.isnan()
        assert result.recall.isnan().all()
        assert result.precision.isfinite().all()
    metric = PxAP()
    metric.update(MAPS, torch.zeros_like(MASKS))
    assert metric.compute().isnan()
    metric.update(MAPS, MASKS)  # a later batch may bring one
    assert metric.compute() > 0


def test_the_metric_refuses_wrong_thresholds_at_once():
    with pytest.raises(ValueError, match="thresholds: expected rising numbers"):
        PxAP(thresholds=[0.5, 0.1])
    with pytest.raises(ValueError, match="thresholds: expected the first to be 0"):
        PxAP(thresholds=[0.5, 0.6])


def test_the_metric_passes_its_ignored_label_on():
    masks = torch.randint(0, 3, (2, 4, 5), generator=generator(8))
    metric = PxAP(thresholds=[0, 0.5], ignore_index=2)
    metric.update(MAPS, masks)
    expected = count_scores(MAPS, masks, thresholds=[0, 0.5], ignore_index=2)
    assert torch.equal(metric.counts, expected)
