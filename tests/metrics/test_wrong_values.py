"""What only metrics can be given wrong, and a refused batch, which changes no count."""

import re

import numpy as np
import pytest
import torch

from tests.support.calls.call import Call
from tests.support.calls.metrics import CALLS, UPDATES
from wsolrefine import metrics

MAPS = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0))
MASKS = (MAPS > 0.5).long()
BOXES = [torch.tensor([[0.0, 0, 3, 3]]), torch.tensor([[1.0, 1, 3, 3], [0, 0, 2, 2]])]
FOUND = torch.tensor([[[0.0, 0, 3, 3], [1, 1, 2, 2]]] * 2)
LABELS, TRUE = torch.tensor([[0, 1], [1, 0]]), torch.tensor([0, 0])
LINES = MAPS > 0.5
SIZES = [(5, 6), (10, 12)]
OPTIONAL = {"image_sizes": SIZES, "gt_known_boxes": FOUND[:, 0]}

# Besides what is wrong for every option of a kind, see tests/project/test_wrong_values.py.
WRONG = {
    "step": [1.5, 1e-12, (0.5,)],
    "size": [(7, 0), (7, -1), (7, 8, 9), (7.0, 8.0), (7, None)],
    "threshold": [1.5, (0.5,), 1e300],
    "thresholds": [[0.5, 0.2], [0.5, 0.5], [0.0, 1.5], [True], [1j], [float("nan")], {0.5: 1}],
    "ious": [[0.0], [50], [True], [-1], [None], 0.5],
    "iou": [50, (0.5,), 1e300],
    "hit": [">>", "gt", ">=>"],
    "total": [torch.tensor(-1), torch.tensor(2.0), torch.ones(2)],
    "ignore_index": [(255,), 10**30, 2.0],
    "aggregate": ["Pooled", "max", ("mean",)],
    "tolerance": [(0.1,), float("inf")],
}


@pytest.mark.parametrize(
    ("call", "option"),
    [(call, option) for call in CALLS for option in call.kinds if option in WRONG],
    ids=lambda value: value.function.__name__ if isinstance(value, Call) else None,
)
def test_wrong_options_are_refused(call, option):
    for value in WRONG[option]:
        with pytest.raises((TypeError, ValueError), match=rf"^{option}: expected") as raised:
            call.function(**{**call.arguments, option: value})
        assert len(str(raised.value)) < 300


NAN_MAPS, OUTSIDE = MAPS * torch.nan, MAPS + 0.5
WRONG_INPUTS = {
    "a kind": [None, "x", 3, 0.5, 1j, {}, object(), np.ones((2, 5, 6)), [None, None], [[0.5]], ("x", "y")],
    "a shape": [
        torch.rand(()), torch.rand(5), torch.rand(5, 6)[None, None], torch.rand(2, 0, 6),
        torch.rand(2, 2, 3, 4), torch.rand(3, 7, 6), torch.ones(7).long(), torch.ones(3, 3, 3) > 0,
    ],
    "a layout": [MAPS.to("meta"), MAPS.to_sparse(), MASKS.to("meta"), MASKS.to_sparse(), LINES.to("meta")],
    "a dtype": [MAPS.cfloat(), MAPS.to(torch.float8_e5m2), torch.tensor([1j])],
}  # fmt: skip
WRONG_ONES = {
    "boxes": [
        BOXES[:1], [BOXES[0], None], [BOXES[0], [[0, 0, 1, 1]]], [BOXES[0], BOXES[0][0]],
        [BOXES[0], BOXES[0] * torch.nan], [BOXES[0], torch.tensor([[3.0, 0, 1, 3]])],
        [BOXES[0], BOXES[0] > 0], [BOXES[0], BOXES[0] + 0j], [BOXES[0], BOXES[0].to("meta")],
        [BOXES[0], torch.tensor([[0, 0, 3, torch.inf]])], {0: BOXES[0], 1: BOXES[1]},
    ],
    "image_sizes": [
        "x", 3, SIZES[:1], [(5, 6), (5, 0)], [(5, 6), (5, -6)], [(5, 6), (5.5, 6)], [(5, 6), "ab"],
        [(5, 6), (5,)], [(5, 6), (float("nan"), 6)], [(5, 6), (10**30, 6)], [(5, 6), (True, None)],
        torch.tensor([[True, True]] * 2), torch.tensor([[5j, 6]] * 2), torch.ones(2, 2).to("meta"),
    ],
    "masks": [MAPS, MASKS[:1], MASKS + 0j],
    "boundaries": [MASKS, LINES[:1]],
}  # fmt: skip
REVERSED = FOUND.flip(-1) - torch.tensor([1, 2, 3, 4])
WRONG_FOUND = {
    "boxes": [FOUND > 0, FOUND[..., :3], REVERSED, REVERSED[:, 0]],
    "labels": [LABELS.float(), LABELS - 1, LABELS[:, :1], LABELS > 0],
    "target_boxes": [*WRONG_ONES["boxes"][:9], None, "xy"],
    "target_labels": [TRUE.float(), TRUE - 1, TRUE[:1], torch.zeros(2, 2).long()],
    "gt_known_boxes": [FOUND, FOUND[:1, 0], REVERSED[:, 0], FOUND[:, 0] > 0],
}
WRONG_MAPS = {"PxAP": [NAN_MAPS, OUTSIDE, MAPS / 0], "MaxBoxAcc": [NAN_MAPS, OUTSIDE, MAPS - 0.5]}
WRONG_MAPS["BoundaryScore"] = WRONG_MAPS["PxAP"]
WRONG_MAPS["PeakIoU"] = [NAN_MAPS, MAPS / 0]


@pytest.mark.parametrize(
    ("name", "argument"), [(name, some) for name, call in UPDATES.items() for some in call.kinds]
)
def test_wrong_inputs_are_refused_and_change_no_count(name, argument):
    inputs = UPDATES[name].arguments
    if argument in OPTIONAL:
        inputs = {**inputs, argument: OPTIONAL[argument]}
    values = [value for some in WRONG_INPUTS.values() for value in some]
    own = WRONG_FOUND if "labels" in inputs else WRONG_ONES
    values += own.get(argument, [])
    if argument in ("maps", "edges"):
        values += WRONG_MAPS.get(name, [])
    rule = {"hit": ">"} if name == "LocalizationAccuracy" else {}
    metric = getattr(metrics, name)(**rule)
    metric.update(**inputs)
    before = {state: getattr(metric, state).clone() for state in metric._defaults}
    for value in values:
        if value is None and argument in OPTIONAL:
            continue
        for call in (metric.update, metric):
            # Where shapes disagree, it may be the other argument that is named.
            with pytest.raises(
                (TypeError, ValueError), match=r"^[a-z_]+(\[\d\])?: expected"
            ) as one:
                call(**{**inputs, argument: value})
            assert re.match(r"[a-z_]+", str(one.value))[0] in inputs
            for state, count in before.items():
                assert torch.equal(getattr(metric, state), count)


def calls_of_unit_maps(maps):
    """The functions of maps in [0, 1], each with the name of its argument."""
    return (
        ("maps", lambda: metrics.count_box_hits(maps, BOXES)),
        ("maps", lambda: metrics.count_scores(maps, MASKS)),
        ("edges", lambda: metrics.count_boundary_matches(maps, LINES)),
        ("map", lambda: metrics.score_map_boxes(maps[1], 0.5)),
    )


@pytest.mark.parametrize(("value", "what"), [(torch.nan, "NaN"), (-torch.inf, "infinite")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_maps_that_are_not_finite_are_refused_by_every_metric_with_what_they_hold(
    value, what, dtype
):
    """A metric that takes any scale would count them as bad predictions."""
    maps = MAPS.to(dtype)
    maps[1, 2, 3] = value
    half_open = metrics.MaxBoxAcc(half_open=True)
    for name, call in (
        ("maps", lambda: metrics.count_gray_levels(maps, MASKS)),
        ("maps", lambda: metrics.PeakIoU().update(maps, MASKS)),
        ("maps", lambda: metrics.count_box_hits_half_open(maps, BOXES)),
        ("maps", lambda: half_open.update(maps, BOXES)),
        ("map", lambda: metrics.prepare_score_map(maps[1], (8, 8))),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name}: expected finite values, got values that are {what}$"
        ):
            call()
    if what == "NaN":
        for name, call in calls_of_unit_maps(maps):
            with pytest.raises(
                ValueError, match=rf"^{name}: expected values in \[0, 1\], got values that are NaN$"
            ):
                call()


# Rounding -----------------------------------------------------------------------------------------

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def next_above(dtype, steps):
    return 1 + steps * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_maps_may_leave_the_interval_by_rounding(dtype, steps):
    """As after interpolation: the same counts as of the map that ends at 1."""
    expected = MAPS.to(dtype).clamp_max(0.9)
    expected[:, 1, 1:3], expected[:, 0, 0] = 1, 0
    maps = expected.clone()
    maps[:, 1, 1:3], maps[:, 0, 0] = next_above(dtype, steps), -torch.finfo(dtype).eps
    assert maps.amax() > 1
    calls = {
        "count_box_hits": (BOXES,),
        "count_scores": (MASKS,),
        "count_boundary_matches": (LINES,),
    }
    for name, arguments in calls.items():
        function = getattr(metrics, name)
        assert torch.equal(function(maps, *arguments), function(expected, *arguments)), name
    out = metrics.score_map_boxes(maps[0], 0.5)
    assert torch.equal(out, metrics.score_map_boxes(expected[0], 0.5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_maps_outside_by_more_than_rounding_are_refused_with_their_range(dtype):
    maps = MAPS.to(dtype).clamp(0.25, 0.75)
    for value in (next_above(dtype, 6), 1.5, 255.0, -8 * torch.finfo(dtype).eps, torch.nan):
        maps[1, 2, 3] = value
        for name, call in calls_of_unit_maps(maps):
            with pytest.raises(
                ValueError, match=rf"^{name}: expected values in \[0, 1\], got "
            ) as e:
                call()
            assert "got 0 to 1" not in str(e.value)


# Finite values at the ends of what a dtype holds -------------------------------------------------


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1.5e308])
def test_the_scale_of_a_map_in_float64_does_not_matter(scale):
    """float32, in which OpenCV resizes, would make it zero or infinite."""
    map = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    expected = metrics.prepare_score_map(map, (9, 8))
    assert expected.max() == 1
    torch.testing.assert_close(
        metrics.prepare_score_map(scale * map, (9, 8)), expected, rtol=1e-5, atol=1e-6
    )
    if scale > 1:
        masks = torch.ones(1, 3, 4).long()
        levels = metrics.count_gray_levels(scale * map[None], masks)
        assert levels[0, 0].nonzero().flatten().tolist() == [255 * i // 11 for i in range(12)]


def test_true_boxes_far_beyond_the_image_are_missed():
    far = torch.tensor([[0, 0, 1e300, 1e300]], dtype=torch.float64)
    near = torch.tensor([[0.0, 0, 4, 4]])
    for count in (metrics.count_box_hits, metrics.count_box_hits_half_open):
        assert count(torch.ones(1, 4, 4), [far], ious=[1e-9]).eq(0).all()
        # Another true box of the image is hit as without it.
        both = torch.cat([far, near.double()])
        maps = torch.ones(1, 4, 4)
        assert torch.equal(count(maps, [both]), count(maps, [near]))
