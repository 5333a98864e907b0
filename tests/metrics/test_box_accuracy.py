"""MaxBoxAcc and MaxBoxAccV2: published counts, what must hold of any, and plain half-open boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import box_accuracy as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.metrics import (
    MaxBoxAcc,
    MaxBoxAccV2,
    box_hits_half_open,
    count_box_hits,
    count_box_hits_half_open,
    max_box_acc,
    score_map_boxes,
    thresholds_of,
)

METRICS = {"single": MaxBoxAcc, "multi": MaxBoxAccV2}
HALF_OPEN = {False: count_box_hits, True: count_box_hits_half_open}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def equal(out, expected):
    np.testing.assert_array_equal(out.cpu().numpy(), np.asarray(expected))


def half_open(inclusive):
    """wsolevaluation's corners name the last pixel; half-open ends lie one pixel beyond it."""
    return torch.as_tensor(inclusive) + torch.tensor([0, 0, 1, 1])


def by_owner(boxes, owner, count):
    return [boxes[torch.as_tensor(owner) == i] for i in range(count)]


# --- numbers of the released code -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["single", "multi"])
def test_golden_counts_of_wsolevaluation(golden, name):
    case = golden("wsol_box_evaluator")
    maps = torch.from_numpy(case["scoremaps_u16"] / 1023.0)
    boxes = by_owner(half_open(case["boxes"]), case["box_image"], len(maps))
    sizes = torch.from_numpy(case["image_wh"]).flip(1)
    options = {"thresholds": case["thresholds"], "ious": case["iou_thresholds"] / 100}
    metric = METRICS[name](**options)
    for some in (slice(0, 13), slice(13, 40)):
        metric.update(maps[some], boxes[some], image_sizes=sizes[some].tolist())
    equal(metric.hits, case[f"num_correct_{name}"])
    result = metric.details()
    best = torch.from_numpy(case[f"max_box_acc_{name}"])
    assert_close(100 * result.accuracies, best)
    assert_close(100 * result.accuracy, best.mean())
    equal(result.curve * 40, case[f"num_correct_{name}"])
    equal(result.thresholds, case["thresholds"])
    at = case[f"num_correct_{name}"].argmax(1)
    equal(result.best_thresholds, case["thresholds"][at])


def test_golden_counts_tell_the_two_apart(golden):
    case = golden("wsol_box_evaluator")
    assert (case["num_correct_single"] < case["num_correct_multi"]).any()


def exact_map(box, size):
    """A map whose predicted box is these inclusive corners: one pixel less, for the extra one."""
    values = torch.zeros(size, dtype=torch.float64)
    x0, y0, x1, y1 = (int(corner) for corner in box)
    values[y0:y1, x0:x1] = 1
    return values


def assert_brought_to(boxes, image_sizes, resized):
    """An IoU of 1 is reached only if the true box is the predicted one, corner for corner."""
    maps = torch.stack([exact_map(box, (224, 224)) for box in resized])
    options = {"thresholds": [0.5], "ious": [1.0]}
    truth = [box[None] for box in half_open(boxes)]
    hits = count_box_hits(maps, truth, image_sizes=image_sizes, **options)
    assert hits.item() == len(maps)
    other = count_box_hits(maps[:9], truth[:9], image_sizes=image_sizes[:9] + 40, **options)
    assert other.item() == 0


def test_golden_true_boxes_of_wsolevaluation(golden):
    case = golden("wsol_box_evaluator")
    sizes = torch.from_numpy(case["image_wh"][case["box_image"]]).flip(1)
    assert_brought_to(case["boxes"], sizes, case["gt_resized"])


GOLDEN_MAPS = [
    *(f"smooth{i}_64x64" for i in range(6)),
    *(f"smooth{i}_40x56" for i in range(3)),
    *("smooth_224x224", "noise_24x32", "ring_hole_48x48", "equal_area_ties_32x32"),
    *("border_20x30", "zeros_12x12", "ones_12x12", "const_half_12x12", "max_below_one_32x32"),
    *("k_over_255_16x16", "diagonal_16x16"),
]


def test_golden_maps_are_all_tested(golden):
    stored = {key for key in golden("wsol_boxes") if key.startswith("map_")}
    assert stored == {f"map_{name}" for name in GOLDEN_MAPS}


@pytest.mark.parametrize("name", GOLDEN_MAPS)
def test_golden_boxes_of_wsolevaluation(golden, name):
    case = golden("wsol_boxes")
    values = torch.from_numpy(case[f"map_{name}"])
    some = slice(None, None, 5 if "224" in name else 1)
    for all_contours, kind in ((False, "single"), (True, "multi")):
        counts = case[f"count_{name}_{kind}"]
        expected = np.split(case[f"boxes_{name}_{kind}"], np.cumsum(counts)[:-1])
        for threshold, boxes in zip(case["thresholds"][some], expected[some], strict=True):
            equal(score_map_boxes(values, threshold, all_contours=all_contours), boxes)


# --- arithmetic that is easily got wrong ------------------------------------------------------------


def test_thresholds_are_those_of_arange():
    for step in (0.001, 0.01, 0.05, 0.1, 0.3, 1):
        assert thresholds_of(step) == np.arange(0, 1, step).tolist()
        assert all(type(value) is float for value in thresholds_of(step))
    floats = thresholds_of(0.01)
    differ = [k for k in range(100) if floats[k] != k / 100]
    assert differ == [35, 41, 47, 57, 69, 70, 82, 83, 94, 95]
    # Of maps with some largest values these give another cut: here a pixel of gray level 57.
    values = torch.tensor([[0, 57, 0, 0, 0, 100.0]], dtype=torch.float64) / 255
    boxes = {k: score_map_boxes(values, k, all_contours=True).tolist() for k in (0.57, floats[57])}
    expected = reference.boxes_of(values.numpy(), [0.57, floats[57]], True)
    assert list(boxes.values()) == [found.tolist() for found in expected]
    assert boxes[0.57] != boxes[floats[57]]


def test_maps_are_not_rounded_to_float32():
    """A frame around the object lies just below a gray level, which the nearest float32 reaches."""
    values = torch.zeros(5, 5, dtype=torch.float64)
    values[:4, :4] = 128 / 255 * (1 - 1e-12)
    values[:3, :3] = 1
    cut = 127.5 / 255
    for maps, end in ((values, 3), (values.float(), 4)):
        truth = [torch.tensor([[0, 0, end + 1, end + 1]])]
        assert score_map_boxes(maps, cut).tolist() == [[0, 0, end, end]]
        assert count_box_hits(maps[None], truth, thresholds=[cut], ious=[1.0]).item() == 1
    options = {"thresholds": [128 / 255], "ious": [1.0]}
    for nudge, end in ((-1e-12, 3), (1e-12, 4)):
        values[:4, :4] = 128 / 255 * (1 + nudge)
        values[:3, :3] = 1
        truth = [torch.tensor([[0, 0, end, end]])]
        assert count_box_hits_half_open(values[None], truth, **options).item() == 1


def test_every_gray_level_is_itself():
    """k / 255 is cut to k."""
    levels = torch.arange(256, dtype=torch.float64).reshape(1, 256) / 255
    for k in range(255):
        assert score_map_boxes(levels, (k + 0.5) / 255)[0, 0] == k + 1


def test_boxes_of_images_are_cut_to_whole_pixels():
    """x1 - 1 = 9 of 10 columns is column 8.1 of 9: cut to 8."""
    maps = torch.zeros(1, 9, 9)
    maps[0, :8, :8] = 1  # predicted: 0, 0, 8, 8
    truth = [torch.tensor([[0, 0, 10, 10]])]
    assert count_box_hits(maps, truth, image_sizes=[(10, 10)], thresholds=[0], ious=[1.0]) == 1
    assert count_box_hits(maps, truth, image_sizes=[(12, 10)], thresholds=[0], ious=[1.0]) == 0
    assert count_box_hits(maps, truth, image_sizes=[(10, 12)], thresholds=[0], ious=[1.0]) == 0


@given(SEEDS, st.booleans())
def test_counts_with_image_sizes_match_reference(seed, all_contours):
    rng = np.random.default_rng(seed)
    maps = rng.random((3, *rng.integers(1, 12, 2)))
    sizes = rng.integers(1, 40, (3, 2))
    boxes = []
    for height, width in sizes:
        start = rng.integers(0, [width, height], (rng.integers(0, 4), 2))
        boxes.append(np.concatenate([start, rng.integers(start, [width, height]) + 1], 1))
    options = thresholds_of(0.05), (0.2, 0.5, 1.0)
    expected = reference.count_hits(maps, boxes, *options, all_contours, sizes)
    for given_sizes in (sizes.tolist(), torch.from_numpy(sizes), torch.from_numpy(sizes).float()):
        out = count_box_hits(
            torch.from_numpy(maps),
            [torch.from_numpy(some) for some in boxes],
            image_sizes=given_sizes,
            thresholds=options[0],
            ious=options[1],
            all_contours=all_contours,
        )
        equal(out, expected)


# --- what must hold of any counts -------------------------------------------------------------------


def drawn(seed, *, batch=3, size=(9, 11), dtype=torch.float64):
    """Maps of blobs and ragged true boxes: some that a threshold finds, and images without any."""
    g = generator(seed)
    maps = torch.rand(batch, *size, generator=g, dtype=torch.float64)
    maps = torch.nn.functional.avg_pool2d(maps, 3, 1, 1)
    maps = (maps / maps.amax()).to(dtype)
    boxes = []
    for i in range(batch):
        start = torch.randint(0, 6, (i % 3, 2), generator=g)
        some = torch.cat([start, start + torch.randint(1, 7, (i % 3, 2), generator=g)], 1)
        some[:1] = half_open(score_map_boxes(maps[i], 0.7)) if i % 3 == 1 else some[:1]
        boxes.append(some)
    return maps, boxes


IOUS = (0.1, 0.25, 0.5, 0.75, 1.0)
modes = pytest.mark.parametrize("mode", [False, True], ids=["protocol", "half_open"])


def count(mode, maps, boxes, every=False, **options):
    options["all_components" if mode else "all_contours"] = every
    return HALF_OPEN[mode](maps, boxes, **options)


@modes
@given(seed=SEEDS, every=st.booleans())
def test_counts_never_rise_with_the_iou(mode, seed, every):
    maps, boxes = drawn(seed)
    hits = count(mode, maps, boxes, every, ious=IOUS, thresholds=thresholds_of(0.1))
    assert (hits.diff(dim=0) <= 0).all()
    assert (hits >= 0).all()
    assert (hits <= sum(len(some) > 0 for some in boxes)).all()


@modes
@given(seed=SEEDS)
def test_all_boxes_reach_what_the_largest_does(mode, seed):
    maps, boxes = drawn(seed)
    options = {"ious": IOUS, "thresholds": thresholds_of(0.1)}
    assert (count(mode, maps, boxes, True, **options) >= count(mode, maps, boxes, **options)).all()


@modes
@given(seed=SEEDS, every=st.booleans(), added=st.floats(0, 1))
def test_accuracy_never_falls_when_a_threshold_is_added(mode, seed, every, added):
    maps, boxes = drawn(seed, batch=6)
    few = thresholds_of(0.3)
    more = sorted({*few, added})
    results = []
    for steps in (few, more):
        hits = count(mode, maps, boxes, every, ious=IOUS, thresholds=steps)
        results.append(max_box_acc(hits, len(maps), steps))
    assert (results[1].accuracies >= results[0].accuracies).all()
    assert results[1].accuracy >= results[0].accuracy
    equal(results[1].curve[:, [more.index(step) for step in few]], results[0].curve)


@modes
@given(seed=SEEDS, every=st.booleans())
def test_order_of_images_and_boxes_does_not_matter(mode, seed, every):
    maps, boxes = drawn(seed, batch=5)
    options = {"ious": IOUS, "thresholds": thresholds_of(0.1)}
    order = torch.randperm(5, generator=generator(seed)).tolist()
    turned = [boxes[i].flip(0) for i in order]
    expected = count(mode, maps, boxes, every, **options)
    assert torch.equal(count(mode, maps[order], turned, every, **options), expected)


@given(SEEDS)
def test_max_box_acc_is_the_maximum_of_each_row(seed):
    hits = torch.randint(0, 5, (3, 7), generator=generator(seed))
    steps = thresholds_of(0.15)
    result = max_box_acc(hits, 5, steps)
    rows = hits.tolist()
    assert_close(result.curve, hits.double() / 5)
    equal(result.accuracies, [max(row) / 5 for row in rows])
    equal(result.best_thresholds, [steps[row.index(max(row))] for row in rows])
    assert_close(result.accuracy, result.accuracies.mean())
    equal(result.thresholds, steps)
    assert all(part.dtype == torch.float64 for part in result)
    for one, other in zip(result, max_box_acc(hits, torch.tensor(5), np.array(steps)), strict=True):
        assert torch.equal(one, other)


def test_accuracy_of_no_image_is_nan():
    result = max_box_acc(torch.zeros(2, 3, dtype=torch.int64), 0, [0.0, 0.1, 0.2])
    assert result.accuracy.isnan()
    assert result.best_thresholds.isnan().all()
    assert result.curve.isnan().all()


@st.composite
def boxes_in_maps(draw):
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (height, width), [
        *(x0, y0),
        *(draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))),
    ]


@given(boxes_in_maps())
def test_a_perfect_map_is_always_right_half_open(case):
    size, (x0, y0, x1, y1) = case
    maps = torch.zeros(1, *size)
    maps[0, y0:y1, x0:x1] = 1
    options = {"ious": [1.0], "thresholds": thresholds_of(0.1)}
    for every in (False, True):
        truth = [torch.tensor([[x0, y0, x1, y1]])]
        assert count_box_hits_half_open(maps, truth, all_components=every, **options).eq(1).all()


@given(boxes_in_maps())
def test_a_perfect_map_is_a_pixel_too_large_in_the_protocol(case):
    """Its best IoU is that of the box with one column and row more, where there are any."""
    (height, width), (x0, y0, x1, y1) = case
    maps = torch.zeros(1, height, width)
    maps[0, y0:y1, x0:x1] = 1
    wide, high = x1 - x0, y1 - y0
    iou = wide * high / ((wide + (x1 < width)) * (high + (y1 < height)))
    ious = [iou, min(np.nextafter(iou, 2), 1.0)]
    for all_contours in (False, True):
        hits = count_box_hits(
            maps, [torch.tensor([[x0, y0, x1, y1]])], ious=ious, all_contours=all_contours
        )
        assert hits[0].eq(1).all()
        assert hits[1].eq(int(iou == 1)).all()
    if wide >= 3 and high >= 3:
        metric = MaxBoxAcc()
        metric.update(maps, [torch.tensor([[x0, y0, x1, y1]])])
        assert metric.details().accuracy == 1


@pytest.mark.parametrize("metric", [MaxBoxAcc, MaxBoxAccV2])
@pytest.mark.parametrize("half_open", [False, True])
def test_an_image_without_a_true_box_is_missed(metric, half_open):
    metric = metric(thresholds=[0.5], half_open=half_open)
    whole = torch.tensor([[0, 0, 3, 3]])
    metric.update(torch.ones(4, 3, 3), [whole, whole[:0], whole, whole])
    assert metric.details().accuracy == 0.75


def test_an_empty_map_has_the_box_of_its_first_pixel_in_the_protocol():
    maps, pixel = torch.zeros(1, 4, 4), [torch.tensor([[0, 0, 1, 1]])]
    assert count_box_hits(maps, pixel, ious=[1.0]).eq(1).all()
    assert count_box_hits_half_open(maps, pixel, ious=[0.01]).eq(0).all()


# --- half-open mode ---------------------------------------------------------------------------------


def few_levels(rng, kind):
    """Maps with ties: of few levels, and blocks of equal size."""
    height, width = rng.integers(1, 13, 2)
    if kind == "noise":
        return rng.choice([0, 0.25, 0.5, 1.0], (2, height, width))
    if kind == "blocks":
        return np.kron(rng.integers(0, 3, (2, height, width)) / 2, np.ones((2, 1)))
    return rng.random((2, height, width))


@given(st.sampled_from(["noise", "blocks", "continuous"]), SEEDS, st.booleans())
def test_half_open_counts_match_reference(kind, seed, every):
    rng = np.random.default_rng(seed)
    maps = few_levels(rng, kind)
    height, width = maps.shape[1:]
    boxes = []
    for count in rng.integers(0, 4, 2):
        start = rng.integers(0, [width, height], (count, 2))
        boxes.append(np.concatenate([start, rng.integers(start, [width, height]) + 1], 1))
    steps, ious = [0.0, 0.25, 0.3, 0.5, 0.99, 1.0], (0.1, 0.25, 1 / 3, 0.5, 1.0)
    expected = reference.count_half_open_hits(maps, boxes, steps, ious, every)
    tensors = [torch.from_numpy(some) for some in boxes]
    out = count_box_hits_half_open(
        torch.from_numpy(maps), tensors, thresholds=steps, ious=ious, all_components=every
    )
    assert out.dtype == torch.int64
    equal(out, expected)


@given(SEEDS, st.booleans())
def test_half_open_counts_of_scaled_boxes_match_reference(seed, every):
    rng = np.random.default_rng(seed)
    maps = few_levels(rng, "noise")
    sizes = rng.integers(1, 50, (2, 2))
    start = rng.random((2, 2, 2)) * sizes[:, None, ::-1]
    boxes = np.concatenate([start, start + 1.1 + 30 * rng.random((2, 2, 2))], 2)
    steps, ious = [0.0, 0.25, 0.6], (0.0713, 0.1511, 0.313)  # reached by no ratio of pixels
    expected = reference.count_half_open_hits(maps, boxes, steps, ious, every, sizes)
    out = count_box_hits_half_open(
        torch.from_numpy(maps),
        list(torch.from_numpy(boxes)),
        image_sizes=sizes.tolist(),
        thresholds=steps,
        ious=ious,
        all_components=every,
    )
    equal(out, expected)


def test_half_open_ties_go_to_the_first_piece():
    maps = torch.zeros(1, 6, 8)
    maps[0, 1:3, 5:7] = maps[0, 2:4, 0:2] = maps[0, 4:6, 5:7] = 1
    for box, hits in (([5, 1, 7, 3], 1), ([0, 2, 2, 4], 0), ([5, 4, 7, 6], 0)):
        options = {"thresholds": [0.5], "ious": [1.0]}
        truth = [torch.tensor([box])]
        assert count_box_hits_half_open(maps, truth, **options).item() == hits
        assert count_box_hits_half_open(maps, truth, all_components=True, **options).item() == 1


def test_half_open_takes_no_hole_and_counts_pixels():
    maps = torch.zeros(1, 12, 12)
    maps[0, :7, :7] = 1
    maps[0, 1:6, 1:6] = 0  # a frame of 24 pixels around a hole of 25
    maps[0, 8:12, 0:5] = 1  # 20 pixels
    options = {"thresholds": [0.5], "ious": [1.0], "all_components": True}
    hole = [torch.tensor([[1, 1, 6, 6]])]
    assert count_box_hits_half_open(maps, hole, **options).item() == 0
    frame = [torch.tensor([[0, 0, 7, 7]])]
    options["all_components"] = False
    assert count_box_hits_half_open(maps, frame, **options).item() == 1


@pytest.mark.parametrize("pixels", [1, 200, 1000])
@pytest.mark.parametrize("every", [False, True])
def test_half_open_counts_do_not_depend_on_masks_at_once(monkeypatch, pixels, every):
    maps, boxes = drawn(3)
    options = {"thresholds": thresholds_of(0.03), "ious": IOUS, "all_components": every}
    expected = count_box_hits_half_open(maps, boxes, **options)
    assert expected.any()
    monkeypatch.setattr(box_hits_half_open, "MASKS_AT_ONCE", pixels)
    assert torch.equal(count_box_hits_half_open(maps, boxes, **options), expected)


def test_half_open_takes_any_scale():
    maps = torch.full((1, 5, 5), -1e30)
    maps[0, 1:3, 1:4] = 7.0
    options = {"thresholds": [0.0, 1.0], "ious": [0.04, 1.0]}
    equal(count_box_hits_half_open(maps, [torch.tensor([[1, 1, 4, 3]])], **options), [[1, 1]] * 2)


@pytest.mark.parametrize("every", [False, True])
def test_counts_on_the_device(device, every):
    maps, boxes = drawn(5)
    moved = maps.to(device), [some.to(device) for some in boxes]
    for mode, where in ((False, "cpu"), (True, device.type)):
        options = {"thresholds": thresholds_of(0.05), "ious": IOUS}
        out = count(mode, *moved, every, **options)
        assert out.device.type == where
        assert torch.equal(out.cpu(), count(mode, maps, boxes, every, **options))
        # Boxes may lie on another device than the maps.
        assert torch.equal(count(mode, moved[0], boxes, every, **options), out)


# --- kinds of input ---------------------------------------------------------------------------------


@modes
@pytest.mark.parametrize("dtype", DTYPES)
def test_counts_take_every_precision(mode, dtype):
    maps, boxes = drawn(7, dtype=dtype)
    options = {"thresholds": thresholds_of(0.01), "ious": IOUS}
    expected = count(mode, maps.double(), boxes, **options)
    assert expected.any()
    for some in (boxes, [one.to(dtype) for one in boxes]):
        assert torch.equal(count(mode, maps, some, **options), expected)


def layouts(maps):
    """The same maps in other orders of memory."""
    yield maps.mT.contiguous().mT
    yield maps.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    yield torch.stack([maps, maps], 3)[..., 1]
    yield maps.flip(0).flip(0)
    yield maps.clone().requires_grad_()


@modes
@pytest.mark.parametrize("every", [False, True])
def test_counts_take_every_layout_and_leave_arguments_alone(mode, every):
    maps, boxes = drawn(8)
    options = {"thresholds": thresholds_of(0.02), "ious": IOUS}
    expected = count(mode, maps, boxes, every, **options)
    assert expected.any()
    for turned in layouts(maps):
        before = turned.detach().clone()
        assert torch.equal(count(mode, turned, boxes, every, **options), expected)
        assert torch.equal(turned, before)
    expanded = maps[1:2].expand(3, -1, -1)
    truth = boxes[1:2] * 3
    once = count(mode, maps[1:2], boxes[1:2], every, **options)
    assert torch.equal(count(mode, expanded, truth, every, **options), 3 * once)
    floats = [some.double().requires_grad_() for some in boxes]
    assert torch.equal(count(mode, maps, floats, every, **options), expected)


@modes
def test_counts_of_no_image_and_of_one_pixel(mode):
    empty = count(mode, torch.zeros(0, 3, 4), [], thresholds=[0.0, 0.5], ious=[0.3])
    equal(empty, [[0, 0]])
    equal(count(mode, torch.zeros(0, 3, 4), (), image_sizes=torch.zeros(0, 2)), np.zeros((1, 1000)))
    one = count(mode, torch.ones(1, 1, 1), [torch.tensor([[0, 0, 1, 1]])], ious=[1.0])
    assert one.shape == (1, 1000)
    assert one.eq(1).all()


@modes
def test_counts_of_no_image_take_an_empty_list_of_sizes(mode):
    equal(count(mode, torch.zeros(0, 3, 4), [], image_sizes=[], thresholds=[0.5]), [[0]])


@modes
def test_thresholds_may_be_an_array_or_one_number(mode):
    maps, boxes = drawn(9)
    every = count(mode, maps, boxes, ious=IOUS)
    assert torch.equal(
        count(mode, maps, boxes, ious=IOUS, thresholds=np.arange(0, 1, 0.001)), every
    )
    for column in (0, 500, 999):
        one = count(mode, maps, boxes, ious=np.array(IOUS), thresholds=[column / 1000])
        assert torch.equal(one[:, 0], every[:, column])


@modes
def test_true_boxes_may_lie_partly_beyond_the_image_or_between_pixels(mode):
    maps = torch.ones(1, 4, 4)
    for box in ([0, 0, 50, 50], [1.3, 1.2, 2.6, 2.4], [3.6, 0, 5.2, 4], [3, 3, 4, 4]):
        hits = count(mode, maps, [torch.tensor([box])], ious=[0.9])
        assert hits.eq(0).all()


@modes
@pytest.mark.parametrize(
    ("box", "what"),
    [
        ([10.0, 10, 11, 11], "pixels within 4 x 4"),
        ([4.0, 0, 9, 4], "pixels within 4 x 4"),
        ([0.0, 4, 4, 9], "pixels within 4 x 4"),
        ([0.25, 0.25, 0.75, 0.75], "one pixel or more"),
        ([0.0, 0.1, 0.9, 1.0], "one pixel or more"),
        ([1.3, 1.0, 1.6, 3.0], "one pixel or more"),
    ],
)
@pytest.mark.parametrize("sizes", [None, [(4, 4)] * 2], ids=["of maps", "of images"])
def test_true_boxes_without_a_pixel_of_the_image_are_refused(mode, box, what, sizes):
    """They would be missed by any map, and an accuracy of 0 does not say why."""
    right = torch.tensor([[0.0, 0, 4, 4]])
    boxes = [right, torch.cat([right, torch.tensor([box])])]
    with pytest.raises(ValueError, match=rf"^boxes\[1\]: expected {what}"):
        count(mode, torch.ones(2, 4, 4), boxes, image_sizes=sizes)
    metric = MaxBoxAccV2(half_open=mode == "half_open")
    with pytest.raises(ValueError, match=rf"^boxes\[1\]: expected {what}"):
        metric.update(torch.ones(2, 4, 4), boxes, sizes)
    assert metric.total == 0


# --- what is refused --------------------------------------------------------------------------------

MAPS, BOXES = torch.rand(2, 4, 5), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])] * 2
UNIT = r"expected numbers in \[0, 1\]"
NOT_A_BOX = "expected finite corners, 0 <= x0 < x1 and 0 <= y0 < y1"


@modes
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"maps": [[0.0]]}, TypeError, "maps: expected a torch.Tensor, got list"),
        ({"maps": MAPS > 0.5}, TypeError, "maps: expected a floating-point dtype, got torch.bool"),
        ({"maps": MAPS.int()}, TypeError, "maps: expected a floating-point dtype, got torch.int32"),
        ({"maps": MAPS[0]}, ValueError, r"maps: expected shape \(B, H, W\), got \(4, 5\)"),
        ({"maps": MAPS[None]}, ValueError, r"maps: expected shape \(B, H, W\), got \(1, 2, 4, 5\)"),
        ({"maps": MAPS[:, :0]}, ValueError, "maps: expected shape .* with H >= 1"),
        ({"boxes": BOXES[:1]}, ValueError, "boxes: expected 2 tensors as maps, got 1"),
        ({"boxes": [*BOXES, *BOXES]}, ValueError, "boxes: expected 2 tensors as maps, got 4"),
        (
            {"boxes": [BOXES[0], [[0, 0, 1, 1]]]},
            TypeError,
            r"boxes\[1\]: expected a torch.Tensor, got list",
        ),
        (
            {"boxes": [BOXES[0], BOXES[0][0]]},
            ValueError,
            r"boxes\[1\]: expected shape \(n, 4\), got \(4,\)",
        ),
        (
            {"boxes": [BOXES[0][:, :3]] * 2},
            ValueError,
            r"boxes\[0\]: expected shape \(n, 4\), got \(1, 3\)",
        ),
        (
            {"boxes": [torch.zeros(0)] * 2},
            ValueError,
            r"boxes\[0\]: expected shape \(n, 4\), got \(0,\)",
        ),
        (
            {"boxes": [torch.tensor([[2, 0, 2, 1]])] * 2},
            ValueError,
            rf"boxes\[0\]: {NOT_A_BOX}, got",
        ),
        (
            {"boxes": [torch.tensor([[0, 3, 2, 1]])] * 2},
            ValueError,
            rf"boxes\[0\]: {NOT_A_BOX}, got",
        ),
        (
            {"boxes": [BOXES[0], torch.tensor([[-1, 0, 2, 1]])]},
            ValueError,
            rf"boxes\[1\]: {NOT_A_BOX}, got",
        ),
        (
            {"boxes": [BOXES[0], torch.tensor([[0, -0.1, 2, 1]])]},
            ValueError,
            rf"boxes\[1\]: {NOT_A_BOX}, got",
        ),
        ({"boxes": [BOXES[0], BOXES[0] * torch.nan]}, ValueError, rf"boxes\[1\]: {NOT_A_BOX}, got"),
        (
            {"boxes": [BOXES[0], BOXES[0] + torch.tensor([0, 0, 0, torch.inf])]},
            ValueError,
            r"boxes\[1\]: expected",
        ),
        (
            {"image_sizes": [(3, 4)]},
            ValueError,
            r"image_sizes: expected shape \(2, 2\), got \(1, 2\)",
        ),
        (
            {"image_sizes": torch.ones(2, 3)},
            ValueError,
            r"image_sizes: expected shape \(2, 2\), got \(2, 3\)",
        ),
        (
            {"image_sizes": [(3, 4), (0, 4)]},
            ValueError,
            "image_sizes: expected 1 or more pixels, got 0",
        ),
        (
            {"image_sizes": [(3, -4), (1, 4)]},
            ValueError,
            "image_sizes: expected 1 or more pixels, got -4",
        ),
        (
            {"thresholds": []},
            ValueError,
            r"thresholds: expected numbers in \[0, 1\], got \[\]",
        ),
        (
            {"thresholds": [0.2, 0.1]},
            ValueError,
            r"thresholds: expected rising numbers, got 0.2 before 0.1",
        ),
        ({"thresholds": [0.1, 0.1]}, ValueError, "thresholds: expected rising numbers"),
        ({"thresholds": [-0.1, 0.1]}, ValueError, rf"thresholds: {UNIT}, got \[-0.1, 0.1\]"),
        ({"thresholds": [0.1, 1.1]}, ValueError, rf"thresholds: {UNIT}, got \[0.1, 1.1\]"),
        ({"thresholds": [0, 2, 1]}, ValueError, rf"thresholds: {UNIT}, got \[0, 2, 1\]"),
        ({"thresholds": [float("nan")]}, ValueError, rf"thresholds: {UNIT}, got \[nan\]"),
        ({"thresholds": [0, float("nan"), 1]}, ValueError, rf"thresholds: {UNIT}, got"),
        ({"ious": []}, ValueError, r"ious: expected numbers in \(0, 1\], got \[\]"),
        ({"ious": [0.5, 0]}, ValueError, r"ious: expected numbers in \(0, 1\], got \[0.5, 0\]"),
        ({"ious": [50]}, ValueError, r"ious: expected numbers in \(0, 1\], got \[50\]"),
        ({"ious": [float("nan")]}, ValueError, "ious: expected numbers"),
    ],
)
def test_wrong_arguments_are_refused(mode, change, error, message):
    arguments = {"maps": MAPS, "boxes": BOXES, "thresholds": [0.5], **change}
    with pytest.raises(error, match=message):
        HALF_OPEN[mode](arguments.pop("maps"), arguments.pop("boxes"), **arguments)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), -float("inf")])
def test_maps_outside_0_to_1_are_refused(value):
    maps = MAPS.clone()
    maps[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"^maps: expected values in \[0, 1\], got "):
        count_box_hits(maps, BOXES)
    with pytest.raises(ValueError, match=r"^map: expected values in \[0, 1\], got "):
        score_map_boxes(maps[1], 0.5)
    with pytest.raises(ValueError, match=r"maps: expected values in \[0, 1\], got -1 to 1.5"):
        count_box_hits(torch.tensor([[[-1.0, 1.5]]]), BOXES[:1])


@pytest.mark.parametrize("step", [0, -0.1, 1.5, float("nan")])
def test_a_wrong_step_is_refused(step):
    with pytest.raises(ValueError, match=r"^step: expected a number in \[1e-06, 1\], got"):
        thresholds_of(step)


@pytest.mark.parametrize("threshold", [-0.01, 1.01, 2, float("nan")])
def test_a_wrong_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold: expected .*\[0, 1\], got"):
        score_map_boxes(MAPS[0], threshold)


def test_wrong_maps_for_boxes_are_refused():
    with pytest.raises(ValueError, match=r"map: expected shape \(H, W\), got \(2, 4, 5\)"):
        score_map_boxes(MAPS, 0.5)
    with pytest.raises(TypeError, match=r"map: expected a floating-point dtype, got torch\.uint8"):
        score_map_boxes(MAPS[0].byte(), 0.5)


def test_wrong_counts_are_refused():
    for shape in [(2,), (2, 3), (1, 2, 2), (0, 2)]:
        with pytest.raises(ValueError, match=r"hits: expected shape \(I, 2\) as thresholds, got"):
            max_box_acc(torch.zeros(shape), 1, [0.0, 0.5])
    with pytest.raises(ValueError, match=r"^thresholds: expected numbers in \[0, 1\], got \[\]"):
        max_box_acc(torch.zeros(1, 0), 1, [])


@pytest.mark.parametrize("metric", [MaxBoxAcc, MaxBoxAccV2])
def test_metrics_refuse_wrong_arguments_at_once(metric):
    with pytest.raises(ValueError, match="thresholds: expected rising numbers"):
        metric(thresholds=[0.5, 0.1])
    with pytest.raises(ValueError, match="ious: expected numbers"):
        metric(ious=[1.5])
    counted = metric(thresholds=[0.5])
    counted.update(MAPS, BOXES)
    with pytest.raises(ValueError, match="boxes: expected 2 tensors"):
        counted.update(MAPS, BOXES[:1])
    assert counted.total == 2  # a batch that was refused counts nowhere
