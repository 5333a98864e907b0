"""Peak-IoU, Peak-T and their curves: stored figures, and brute force over all gray levels."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import pixel_precision as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.metrics import PeakIoU, count_gray_levels, peak_iou

BOTH = pytest.mark.parametrize("aggregate", ["pooled", "mean"])


def at_or_above(counts):
    return counts.flip(-1).cumsum(-1).flip(-1)


def test_golden_counts(golden):
    case = golden("sem_peak")
    counts = count_gray_levels(torch.from_numpy(case["maps"]), torch.from_numpy(case["masks"]))
    above = at_or_above(counts)
    np.testing.assert_array_equal(above[:, 0], case["tp_ge"])
    np.testing.assert_array_equal(above[:, 1], case["fp_ge"])
    np.testing.assert_array_equal(above[:, 0, :1] - above[:, 0], case["fn_ge"])


@BOTH
def test_golden_curve_and_peak(golden, aggregate):
    case = golden("sem_peak")
    metric = PeakIoU(aggregate=aggregate)
    maps, masks = torch.from_numpy(case["maps"]), torch.from_numpy(case["masks"])
    for some in (slice(0, 8), slice(8, 20)):
        metric.update(maps[some], masks[some])
    together = peak_iou(count_gray_levels(maps, masks), aggregate=aggregate)
    value, threshold = case[f"peak_{aggregate}_ge_iou_T"]
    for result in (metric.details(), together):
        assert_close(result.curve.numpy(), case[f"iou_{aggregate}_ge"], rtol=0, atol=1e-12)
        assert result.peak_iou.item() == pytest.approx(value, rel=0, abs=1e-12)
        assert result.peak_threshold.item() == threshold
        assert result.average_precision.item() == pytest.approx(case["ap_pooled"].item(), abs=1e-9)


def test_golden_figures_are_not_the_two_others(golden):
    """Neither the mean of each image's own best, nor ``>``, which shifts T by one."""
    case = golden("sem_peak")
    counts = count_gray_levels(torch.from_numpy(case["maps"]), torch.from_numpy(case["masks"]))
    result = peak_iou(counts, aggregate="mean")
    assert result.peak_iou < case["mean_of_per_image_peak_iou"].item() - 0.01
    assert result.peak_threshold.item() == case["peak_mean_gt_iou_T"][1] + 1


# --- brute force ------------------------------------------------------------------------------------


@st.composite
def scored(draw):
    """Maps of any scale, of many levels or few, some constant; masks with ignored pixels."""
    g = generator(draw(SEEDS))
    shape = tuple(draw(st.integers(1, n)) for n in (4, 6, 6))
    maps = torch.randn(shape, generator=g, dtype=torch.float64)
    kind = draw(st.sampled_from(["continuous", "few", "levels"]))
    if kind == "few":
        maps = maps.round()
    elif kind == "levels":
        maps = torch.randint(0, 256, shape, generator=g).double()
    maps *= draw(st.sampled_from([1.0, 1e-3, 1e4]))
    if draw(st.integers(0, 3)) == 0:
        maps[0] = 3.7
    labels = torch.tensor(draw(st.sampled_from([[0, 1], [0, 1, 255], [0, 3, 255, 17]])))
    masks = labels[torch.randint(0, len(labels), shape, generator=g)]
    if draw(st.booleans()):
        masks[-1] = 0  # an image without an object
    masks[0, 0, 0] = 1
    return maps, masks


def exact(maps, masks):
    """Levels and objects of the pixels that count, image by image."""
    images = []
    for one, mask in zip(maps, masks, strict=True):
        known = (mask != 255).numpy()
        images.append((reference.gray_levels(one.numpy())[known], mask.numpy()[known] != 0))
    return images


@given(scored())
def test_counts_match_reference(case):
    counts = count_gray_levels(*case)
    assert counts.dtype == torch.int64
    assert counts.shape == (len(case[0]), 2, 256)
    for (levels, objects), found in zip(exact(*case), counts.numpy(), strict=True):
        np.testing.assert_array_equal(found[0], np.bincount(levels[objects], minlength=256))
        np.testing.assert_array_equal(found[1], np.bincount(levels[~objects], minlength=256))


@given(scored())
def test_pooled_curve_is_that_of_brute_force(case):
    levels, objects = (np.concatenate(some) for some in zip(*exact(*case), strict=True))
    curve = reference.iou_curve(levels, objects)
    counts = count_gray_levels(*case)
    for result in (peak_iou(counts), peak_iou(counts.sum(0))):
        assert_close(result.curve.numpy(), np.array(curve, np.float64))
        assert result.peak_threshold.item() == curve.index(max(curve))
        assert result.peak_iou.item() == pytest.approx(float(max(curve)))
        average = reference.ranked_average_precision(levels, objects)
        assert result.average_precision.item() == pytest.approx(float(average), rel=0, abs=1e-12)


@given(scored())
def test_mean_curve_is_that_of_brute_force(case):
    images = exact(*case)
    curve = reference.mean_curve([reference.iou_curve(*image) for image in images])
    metric = PeakIoU(aggregate="mean")
    metric.update(*case)
    for result in (peak_iou(count_gray_levels(*case), aggregate="mean"), metric.details()):
        expected = np.array([np.nan if value is None else value for value in curve], np.float64)
        assert_close(result.curve.numpy(), expected, equal_nan=True)
        known = [value if value is not None else -1 for value in curve]
        assert result.peak_iou.item() == pytest.approx(float(max(known)))
        assert result.peak_threshold.item() == known.index(max(known))


@given(scored())
def test_precision_and_recall_are_of_pooled_pixels(case):
    levels, objects = (np.concatenate(some) for some in zip(*exact(*case), strict=True))
    counts = count_gray_levels(*case)
    one, other = (peak_iou(counts, aggregate=aggregate) for aggregate in ("pooled", "mean"))
    for threshold in range(256):
        predicted = levels >= threshold
        true, all_predicted = (predicted & objects).sum(), predicted.sum()
        assert one.recall[threshold].item() == pytest.approx(true / objects.sum())
        expected = true / all_predicted if all_predicted else 1
        assert one.precision[threshold].item() == pytest.approx(expected)
    for name in ("precision", "recall", "average_precision"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert all(part.dtype == torch.float64 for part in one)


# --- what must hold ---------------------------------------------------------------------------------


@BOTH
@given(seed=SEEDS)
def test_a_perfect_map_gives_1(aggregate, seed):
    masks = torch.rand(3, 5, 6, generator=generator(seed)) < 0.5
    masks[:, 0, :2] = torch.tensor([True, False])
    maps = 7 * masks.double() - 3
    result = peak_iou(count_gray_levels(maps, masks), aggregate=aggregate)
    assert result.peak_iou == 1
    assert result.peak_threshold == 1
    assert result.average_precision == 1
    assert result.curve[1:255].eq(1).all()


@given(scored())
def test_level_0_predicts_everything(case):
    masks = case[1]
    known = masks != 255
    result = peak_iou(count_gray_levels(*case))
    share = ((masks != 0) & known).sum() / known.sum()
    assert result.curve[0].item() == result.precision[0].item() == pytest.approx(share.item())
    assert result.recall[0] == 1
    assert result.peak_iou >= result.curve[0]


@BOTH
@given(case=scored(), seed=SEEDS)
def test_order_of_images_and_pixels_does_not_matter(aggregate, case, seed):
    maps, masks = case
    expected = peak_iou(count_gray_levels(maps, masks), aggregate=aggregate)
    pixels = torch.randperm(maps[0].numel(), generator=generator(seed))
    images = torch.randperm(len(maps), generator=generator(seed))
    shuffled = [some[images].flatten(1)[:, pixels, None] for some in case]
    for out, part in zip(
        peak_iou(count_gray_levels(*shuffled), aggregate=aggregate), expected, strict=True
    ):
        if part.is_floating_point():
            assert_close(out, part, equal_nan=True)


@given(SEEDS, st.sampled_from([0.25, 2.0, 512.0]), st.sampled_from([0.0, -8.0, 64.0]))
def test_scale_and_shift_of_a_map_do_not_matter(seed, scale, shift):
    """Multiples of 1/8, which both leave exact: range, and so each level, is one of few."""
    g = generator(seed)
    maps = torch.randint(-40, 41, (2, 6, 5), generator=g).double()
    masks = torch.randint(0, 2, maps.shape, generator=g)
    levels = count_gray_levels(maps, masks)
    other = count_gray_levels(scale * maps + shift, masks)
    # 1e-10 beside the range moves only what lies on a level, and by one.
    assert (at_or_above(levels)[..., 1:] <= at_or_above(other)[..., :-1]).all()
    assert (at_or_above(other)[..., 1:] <= at_or_above(levels)[..., :-1]).all()


def test_the_guard_of_the_range_keeps_the_largest_below_255():
    """254 for a range of 1, as in the evaluator it is taken from: 1 / (1 + 1e-10) is below 1."""
    maps, masks = torch.tensor([[[0.0, 1.0]]]), torch.ones(1, 1, 2, dtype=torch.int64)
    assert count_gray_levels(maps, masks)[0, 0].nonzero().flatten().tolist() == [0, 254]
    small = count_gray_levels(1e-10 * maps.double(), masks)
    assert small[0, 0].nonzero().flatten().tolist() == [0, 127]
    large = count_gray_levels(1e9 * maps, masks)
    assert large[0, 0].nonzero().flatten().tolist() == [0, 255]


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_maps_without_a_range_are_level_0(value):
    maps, masks = torch.full((1, 2, 2), value), torch.tensor([[[1, 0], [1, 255]]])
    counts = count_gray_levels(maps, masks)
    assert counts[0, :, 0].tolist() == [2, 1]
    assert counts.sum() == 3
    result = peak_iou(counts)
    assert result.peak_threshold == 0
    assert result.peak_iou.item() == result.average_precision.item() == pytest.approx(2 / 3)


def test_images_without_object_and_prediction_do_not_count_in_the_mean():
    maps = torch.tensor([[[0.0, 2.0, 4.0]], [[0.0, 1.0, 2.0]]])
    masks = torch.tensor([[[0, 0, 1]], [[0, 0, 255]]])
    result = peak_iou(count_gray_levels(maps, masks), aggregate="mean")
    # The second image predicts its middle up to level 127; above that it does not count.
    assert result.curve[[0, 127, 128, 254]].tolist() == pytest.approx([1 / 6, 1 / 4, 1, 1])
    assert (result.peak_iou, result.peak_threshold) == (1, 128)
    pooled = peak_iou(count_gray_levels(maps, masks))
    assert pooled.curve[[0, 127, 128]].tolist() == pytest.approx([1 / 5, 1 / 3, 1])


def test_levels_where_no_image_counts_have_no_mean():
    """An object that is ignored where the map is bright: nothing is left above."""
    counts = torch.zeros(2, 2, 256, dtype=torch.int64)
    counts[0, 1, :100] = counts[1, 1, :50] = 1
    counts[0, 0, 3] = 1
    curve = peak_iou(counts, aggregate="mean").curve
    assert not curve.isnan().any()  # the object of the first image is missed
    metric = PeakIoU(aggregate="mean")
    metric.update(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0, 255]]]))
    metric.update(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0, 1]]]))
    result = metric.details()
    assert (result.peak_iou, result.peak_threshold) == (1, 1)
    assert result.curve[0] == 0.25
    assert result.curve[255] == 0


def test_levels_are_computed_in_float64():
    """The middle lies just below level 128 of a range of 255."""
    maps = torch.tensor([[[0.0, 128 - 1e-9, 255.0]]], dtype=torch.float64)
    masks = torch.ones(1, 1, 3, dtype=torch.int64)
    assert count_gray_levels(maps, masks)[0, 0, 127] == 1
    assert count_gray_levels(1e6 * maps, masks)[0, 0, 127] == 1
    assert count_gray_levels(1e6 * maps.float(), masks)[0, 0, 128] == 1


# --- kinds of input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_counts_take_every_precision(dtype):
    maps = torch.randn(2, 5, 6, generator=generator(0)).to(dtype)
    masks = torch.randint(0, 2, (2, 5, 6), generator=generator(1))
    assert torch.equal(count_gray_levels(maps, masks), count_gray_levels(maps.double(), masks))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32])
def test_masks_take_every_whole_dtype(dtype):
    maps = torch.rand(2, 5, 6, generator=generator(0))
    masks = torch.randint(0, 2, (2, 5, 6), generator=generator(1))
    assert torch.equal(count_gray_levels(maps, masks.to(dtype)), count_gray_levels(maps, masks))


def test_counts_take_every_layout_and_leave_arguments_alone():
    maps = torch.randn(3, 5, 6, generator=generator(4))
    masks = torch.randint(0, 2, (3, 5, 6), generator=generator(5))
    expected = count_gray_levels(maps, masks)
    for turned in (maps.mT.contiguous().mT, torch.stack([maps] * 2, 3)[..., 0]):
        assert torch.equal(count_gray_levels(turned, masks.mT.contiguous().mT), expected)
    assert torch.equal(count_gray_levels(maps.clone().requires_grad_(), masks), expected)
    assert torch.equal(count_gray_levels(maps[:1].expand(3, -1, -1), masks)[0], expected[0])


def test_any_label_may_be_the_ignored_one():
    masks = torch.randint(0, 3, (2, 5, 6), generator=generator(6))
    maps = torch.rand(masks.shape, generator=generator(7))
    for ignored in (0, 2, 255):
        counts = count_gray_levels(maps, masks, ignore_index=ignored).sum((0, 2))
        known = masks != ignored
        expected = [((masks != 0) & known).sum().item(), ((masks == 0) & known).sum().item()]
        assert counts.tolist() == expected
        metric = PeakIoU(ignore_index=ignored)
        metric.update(maps, masks)
        assert metric.counts.sum(1).tolist() == expected


@BOTH
def test_counts_of_no_image(aggregate):
    empty = torch.zeros(0, 4, 5)
    assert count_gray_levels(empty, empty.long()).shape == (0, 2, 256)
    metric = PeakIoU(aggregate=aggregate)
    metric.update(empty, empty.long())
    metric.update(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0, 1]]]))
    assert metric.details().peak_iou == 1


@BOTH
def test_figures_on_the_device(device, aggregate):
    maps = torch.randn(2, 5, 6, generator=generator(6))
    masks = torch.randint(0, 2, (2, 5, 6), generator=generator(7))
    out = count_gray_levels(maps.to(device), masks.to(device))
    assert out.device.type == device.type
    expected = count_gray_levels(maps, masks)
    assert torch.equal(out.cpu(), expected)
    for part, other in zip(
        peak_iou(out, aggregate=aggregate), peak_iou(expected, aggregate=aggregate), strict=True
    ):
        assert part.device.type == device.type
        assert_close(part.cpu(), other)


# --- what is refused --------------------------------------------------------------------------------

MAPS, MASKS = torch.rand(2, 4, 5), torch.ones(2, 4, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": MAPS.int()}, TypeError, r"maps: expected a floating-point dtype, got torch\.int"),
        ({"maps": MAPS[0]}, ValueError, r"maps: expected shape \(B, h, w\), got \(4, 5\)"),
        ({"maps": MAPS[:, :, :0]}, ValueError, r"maps: expected shape \(B, h, w\) with w >= 1"),
        ({"masks": [[0]]}, TypeError, r"masks: expected a torch\.Tensor, got list"),
        ({"masks": MAPS}, TypeError, r"masks: expected an integer or boolean dtype, got torch\.f"),
        (
            {"masks": MASKS[:1]},
            ValueError,
            r"masks: expected shape \(B, H, W\) with B=2 from maps, got \(1, 4, 5\)",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        count_gray_levels(**{"maps": MAPS, "masks": MASKS, **change})


def test_wrong_counts_are_refused():
    for shape in [(256,), (1, 256), (2, 255), (1, 1, 2, 256)]:
        with pytest.raises(ValueError, match=r"counts: expected shape \(B, 2, 256\) or \(2, 256\)"):
            peak_iou(torch.ones(shape, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"counts: expected shape \(B, 2, 256\), got \(2, 256\)"):
        peak_iou(torch.ones(2, 256, dtype=torch.int64), aggregate="mean")


def test_a_wrong_aggregate_is_refused():
    message = "aggregate: expected 'pooled' or 'mean', got 'best'"
    with pytest.raises(ValueError, match=message):
        peak_iou(torch.ones(2, 256, dtype=torch.int64), aggregate="best")
    with pytest.raises(ValueError, match=message):
        PeakIoU(aggregate="best")


@BOTH
def test_without_an_object_pixel_there_is_no_peak(aggregate):
    metric = PeakIoU(aggregate=aggregate)
    for masks in (torch.zeros_like(MASKS), torch.full_like(MASKS, 255)):
        metric.update(MAPS, masks)
        counted = peak_iou(count_gray_levels(MAPS, masks), aggregate=aggregate)
        for result in (counted, metric.details()):
            assert result.precision.isfinite().all()
            assert all(part.isnan().all() for part in result if part is not result.precision)
    assert all(value.isnan() for value in metric.compute().values())
    metric.update(MAPS, MASKS)  # a later batch may bring one
    assert all(value.isfinite() for value in metric.compute().values())


# Masks of another size ----------------------------------------------------------------------------


def levels_of_one(map, mask):
    """Count the gray levels of one map in NumPy, enlarged to its mask where sizes differ."""
    gray = (255 * ((map - map.min()) / (np.ptp(map) + 1e-10))).astype(np.uint8)
    if gray.shape != mask.shape:
        gray = cv2.resize(gray, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    place = 256 * (mask == 0).astype(np.int64) + gray
    return np.bincount(place[mask != 255], minlength=512).reshape(2, 256)


@given(seed=SEEDS, side=st.integers(1, 9), same=st.booleans())
def test_gray_levels_are_those_of_a_plain_transcription(seed, side, same):
    rng = np.random.default_rng(seed)
    maps = rng.random((3, 4, side))
    size = (4, side) if same else tuple(rng.integers(1, 20, 2))
    masks = rng.choice([0, 1, 255], (3, *size)).astype(np.uint8)
    counts = count_gray_levels(torch.from_numpy(maps), torch.from_numpy(masks))
    expected = np.stack([levels_of_one(*pair) for pair in zip(maps, masks, strict=True)])
    assert counts.numpy().tolist() == expected.tolist()


def test_a_larger_mask_is_met_by_the_enlarged_gray_map():
    map = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    mask = torch.tensor([[0, 0, 1, 1]], dtype=torch.uint8)
    # 0 and 254 enlarged to 4 pixels, bilinear: 0, 63.5, 190.5, 254.
    counts = count_gray_levels(map[None], mask[None])[0]
    assert counts.sum() == 4
    assert counts[0, 254] == counts[1, 0] == 1
    assert counts[1, 63:65].sum() == counts[0, 190:192].sum() == 1
