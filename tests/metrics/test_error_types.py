"""Top-1, Top-5, GT-known and the kinds of error: released numbers, exact rules, degenerate input."""

import pickle
import re
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import error_types as reference
from tests.support.strategies import SEEDS, generator
from wsolrefine.metrics import (
    ErrorRates,
    LocalizationAccuracy,
    LocalizationError,
    LocalizationErrors,
    LocalizationRates,
    localization_errors,
    localization_hits,
)

KINDS = [kind.name for kind in LocalizationError]


def names(codes):
    return [KINDS[code] for code in codes.tolist()]


@pytest.fixture
def spa(golden):
    case = golden("spa_locerr")
    predicted = torch.from_numpy(case["pred_top5"])
    pairs = zip(torch.from_numpy(case["gt_boxes"]), case["n_gt"], strict=True)
    truth = [boxes[:count] for boxes, count in pairs], torch.from_numpy(case["gt_label"])
    return case, predicted[..., 1:], predicted[..., 0], truth


def test_golden_accuracy_of_spa(spa):
    case, boxes, labels, truth = spa
    hits = localization_hits(boxes, labels, *truth, hit=">", inclusive=True)
    for column, name in enumerate(["err_top1", "err_top5", "err_gtk"]):
        assert torch.equal(100 - 100 * hits[:, column].double(), torch.from_numpy(case[name]))
    # The rules differ on these cases.
    assert (localization_hits(boxes, labels, *truth, hit=">=", inclusive=True) != hits).any()
    assert (localization_hits(boxes, labels, *truth, hit=">") != hits).any()


def test_golden_best_iou_of_spa_is_reached_exactly(spa):
    case, boxes, labels, truth = spa
    for i in range(0, 600, 7):
        iou = case["iou_best"][i].item()
        if iou > 0:
            one = boxes[i : i + 1], labels[i : i + 1], truth[0][i : i + 1], truth[1][i : i + 1]
            found = [localization_hits(*one, hit=h, iou=iou, inclusive=True) for h in (">=", ">")]
            assert [bool(hits[0, 2]) for hits in found] == [True, False]


def test_golden_kinds_of_error_of_spa(spa):
    case, boxes, labels, truth = spa
    codes = localization_errors(boxes[:, 0], labels[:, 0], *truth, inclusive=True)
    table = torch.from_numpy(case["taxonomy_cols_cls_mins_part_more_other"])
    assert torch.equal(codes[:, None] == torch.arange(1, 6), table.bool())
    assert torch.equal(codes == LocalizationError.right, table.sum(1) == 0)
    metric = LocalizationErrors(inclusive=True)
    for some in (slice(0, 251), slice(251, 600)):
        metric.update(boxes[some, 0], labels[some, 0], truth[0][some], truth[1][some])
    counted = torch.stack(metric.details()) * 600
    torch.testing.assert_close(counted[1:], table.sum(0).double())


# --- exact rules ------------------------------------------------------------------------------------


def drawn(seed, *, batch=6, count=3, size=7):
    """Small whole-number boxes, some predicted ones without area; ragged truth."""
    g = generator(seed)

    def some(*shape):
        # Sorted, x0 <= y0 <= x1 <= y1 is a box that is not reversed.
        return torch.randint(0, size, (*shape, 4), generator=g).float().sort(-1).values

    boxes = some(batch, count)
    labels = torch.randint(0, 2, (batch, count), generator=g)
    truth = [some(i % 4) + torch.tensor([0.0, 0, 1, 1]) for i in range(batch)]  # pixels
    return boxes, labels, truth, torch.randint(0, 2, (batch,), generator=g), some(batch)


RULES = st.sampled_from([(">=", 0.5), (">", 0.5), (">=", 0.3), (">", 0.25), (">=", 1.0), (">", 1)])


@given(SEEDS, RULES, st.booleans(), st.booleans())
def test_hits_match_reference(seed, rule, inclusive, with_known):
    boxes, labels, truth, true_labels, known = drawn(seed)
    hit, iou = rule
    out = localization_hits(
        boxes, labels, truth, true_labels,
        hit=hit, iou=iou, inclusive=inclusive, gt_known_boxes=known if with_known else None,
    )  # fmt: skip
    exact = Fraction(str(iou))
    for i, row in enumerate(out.tolist()):
        expected = reference.hits(
            boxes[i].tolist(), labels[i].tolist(), truth[i].tolist(), true_labels[i].item(),
            hit, exact, int(inclusive), known[i].tolist() if with_known else None,
        )  # fmt: skip
        assert tuple(row) == expected


@given(SEEDS, st.booleans(), st.sampled_from([7, 20]))
def test_kinds_match_reference(seed, inclusive, size):
    boxes, labels, truth, true_labels, _ = drawn(seed, batch=12, size=size)
    codes = localization_errors(boxes[:, 0], labels[:, 0], truth, true_labels, inclusive=inclusive)
    assert codes.dtype == torch.int64
    for i, name in enumerate(names(codes)):
        expected = reference.kind(
            boxes[i, 0].tolist(), labels[i, 0].item(), truth[i].tolist(), true_labels[i].item(),
            int(inclusive),
        )  # fmt: skip
        assert name == expected


def box(*corners):
    return torch.tensor([corners], dtype=torch.float32)


TRUE = [[0, 0, 10, 10]]


@pytest.mark.parametrize(
    ("corners", "truth", "kind"),
    [
        ((0, 0, 10, 10), TRUE, "right"),
        ((0, 0, 10, 6), TRUE, "right"),
        ((0, 0, 10, 5), TRUE, "part"),  # IoU 0.5 exactly is not > 0.5
        ((0, 0, 10, 20), TRUE, "more"),  # the same; half of it lies in the object
        ((5, 0, 15, 10), TRUE, "other"),  # IoU 1/3, half of each
        ((3, 0, 23, 10), TRUE, "more"),  # covers 0.7 exactly
        ((4, 0, 23, 10), TRUE, "other"),  # covers 0.6
        ((0, 0, 20, 10), [[0, 0, 10, 10], [10, 0, 20, 10]], "multi_instance"),
        ((7, 0, 14, 10), [[0, 0, 10, 10], [10, 0, 20, 10]], "part"),  # 0.3 exactly, and 0.4
        ((6, 0, 14, 10), [[0, 0, 10, 10], [10, 0, 20, 10]], "multi_instance"),
        ((0, 0, 10, 9), [[0, 0, 10, 10], [0, 0, 10, 9]], "right"),  # right comes before
        ((0, 0, 1, 1), [[5, 5, 9, 9], [0, 0, 9, 9]], "part"),
        ((20, 20, 30, 30), TRUE, "other"),
    ],
)
def test_kinds_by_hand(corners, truth, kind):
    label, true = torch.tensor([4]), [torch.tensor(truth)]
    assert names(localization_errors(box(*corners), label, true, label)) == [kind]
    assert names(localization_errors(box(*corners), label + 1, true, label)) == ["classification"]


def test_half_is_a_hit_for_one_rule_only():
    """A box of n of 2 n pixels has an IoU of exactly 0.5, whatever its size."""
    for n in range(1, 200):
        boxes, truth = box(0, 0, 7, n)[None], [box(0, 0, 7, 2 * n)]
        label = torch.tensor([[1]])
        for inclusive, shift in ((False, 0), (True, torch.tensor([0, 0, 1, 1]))):
            for hit, right in ((">=", True), (">", False)):
                out = localization_hits(
                    boxes - shift, label, [truth[0] - shift], label[0], hit=hit, inclusive=inclusive
                )
                assert out.tolist() == [[right] * 3]


@given(SEEDS, st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_moving_everything_changes_nothing(seed, right, down, inclusive):
    boxes, labels, truth, true_labels, known = drawn(seed)
    move = torch.tensor([right, down, right, down])
    moved = boxes + move, labels, [some + move for some in truth], true_labels
    options = {"hit": ">", "iou": 0.4, "inclusive": inclusive}
    expected = localization_hits(boxes, labels, truth, true_labels, gt_known_boxes=known, **options)
    assert torch.equal(localization_hits(*moved, gt_known_boxes=known + move, **options), expected)
    first = boxes[:, 0], labels[:, 0], truth, true_labels
    other = moved[0][:, 0], *(labels[:, 0], moved[2], true_labels)
    expected = localization_errors(*first, inclusive=inclusive)
    assert torch.equal(localization_errors(*other, inclusive=inclusive), expected)


@given(SEEDS)
def test_half_open_and_inclusive_agree_on_the_same_pixels(seed):
    boxes, labels, truth, true_labels, _ = drawn(seed)
    boxes[..., 2:] += 1
    truth = [some + torch.tensor([0, 0, 1, 1]) for some in truth]
    ends = torch.tensor([0, 0, 1, 1])
    inclusive = boxes - ends, labels, [some - ends for some in truth], true_labels
    plain = localization_hits(boxes, labels, truth, true_labels, hit=">=")
    assert torch.equal(plain, localization_hits(*inclusive, hit=">=", inclusive=True))


@given(SEEDS, st.permutations(range(6)))
def test_images_do_not_meet_and_order_of_truth_does_not_matter_to_hits(seed, order):
    boxes, labels, truth, true_labels, _ = drawn(seed)
    whole = localization_hits(boxes, labels, truth, true_labels, hit=">=")
    codes = localization_errors(boxes[:, 0], labels[:, 0], truth, true_labels)
    picked = boxes[order], labels[order], [truth[i].flip(0) for i in order], true_labels[order]
    assert torch.equal(localization_hits(*picked, hit=">="), whole[order])
    for i in range(6):
        one = boxes[i : i + 1, 0], labels[i : i + 1, 0], truth[i : i + 1], true_labels[i : i + 1]
        assert torch.equal(localization_errors(*one), codes[i : i + 1])


@given(SEEDS)
def test_top1_is_in_top5_and_a_higher_iou_hits_less(seed):
    arguments = drawn(seed)[:4]
    before = torch.ones(6, 3, dtype=torch.bool)
    for iou in (0.1, 0.3, 0.5, 0.9):
        for hit in (">=", ">"):
            hits = localization_hits(*arguments, hit=hit, iou=iou)
            assert (hits[:, 0] <= hits[:, 1]).all()
            assert (hits[:, 0] <= hits[:, 2]).all()  # the first box decides both
            assert (hits <= before).all()
            before = hits


# --- degenerate input -------------------------------------------------------------------------------


def test_no_predicted_and_no_true_box():
    label, nothing, truth = torch.tensor([1]), torch.zeros(1, 4), [box(0, 0, 5, 5)]
    for boxes, targets in (
        (nothing, truth),
        (nothing, [torch.zeros(0, 4)]),
        (box(0, 0, 5, 5), [torch.zeros(0, 4)]),
    ):
        hits = localization_hits(boxes[None], label[None], targets, label, hit=">=", iou=1e-9)
        assert not hits.any()
        assert names(localization_errors(boxes, label, targets, label)) == ["other"]
        wrong = localization_errors(boxes, label + 1, targets, label)
        assert names(wrong) == ["classification"]


@pytest.mark.parametrize("inclusive", [False, True], ids=["half-open", "inclusive"])
@pytest.mark.parametrize(
    "corners",
    [
        (0.25, 0.25, 0.75, 0.75),
        (0.1, 0.25, 0.9, 0.95),
        (3.2, 0.0, 3.7, 9.0),
        (-9.0, -9.0, -2.0, -2.0),
        (-9.0, 1.0, -1.0, 8.0),
    ],
)
def test_true_boxes_without_a_pixel_are_refused(corners, inclusive):
    label, boxes = torch.tensor([1, 1]), torch.tensor([[0.0, 0, 9, 9]] * 2)
    right = box(0, 0, 9, 9)
    truth = [right, torch.cat([right, box(*corners)])]
    rule = "inclusive" if inclusive else "half-open"
    message = rf"^target_boxes\[1\]: expected {rule} boxes of one pixel or more of the image, got "
    accuracy = LocalizationAccuracy(hit=">=", inclusive=inclusive)
    errors = LocalizationErrors(inclusive=inclusive)
    with pytest.raises(ValueError, match=message):
        accuracy.update(boxes[:, None], label[:, None], truth, label)
    with pytest.raises(ValueError, match=message):
        errors.update(boxes, label, truth, label)
    assert accuracy.total == errors.counts.sum() == 0


def test_a_true_box_of_zeros_is_refused_and_one_partly_outside_is_not():
    label, boxes = torch.tensor([1]), box(0, 0, 5, 5)
    for empty in (box(0, 0, 0, 0), box(2, 2, 2, 5)):
        with pytest.raises(ValueError, match=r"^target_boxes\[0\]: expected half-open boxes"):
            localization_errors(boxes, label, [empty], label)
    for partly in (box(-1, -1, 5, 5), box(0, 0, 5, 6.5), box(0.2, 0.2, 5, 5)):
        assert names(localization_errors(boxes, label, [partly], label)) == ["right"]


def test_boxes_that_are_all_fractions_of_the_image_have_the_ious_of_pixels():
    label, boxes, true = torch.tensor([1]), box(0, 0, 7, 4), box(0, 0, 7, 8)
    for hit, right in ((">=", True), (">", False)):
        hits = localization_hits(boxes[None] / 8, label[None], [true / 8], label, hit=hit)
        assert hits.tolist() == [[right] * 3]
    with pytest.raises(ValueError, match=r"^target_boxes\[0\]: expected inclusive boxes of one"):
        localization_errors(boxes / 8, label, [(true - 1).clamp(min=0) / 8], label, inclusive=True)


def test_top5_takes_the_first_five_classes():
    boxes, truth = box(0, 0, 5, 5).expand(1, 10, 4), [box(0, 0, 5, 5)]
    labels = torch.arange(10)[None]
    for rank in range(10):
        metric = LocalizationAccuracy(hit=">=")
        metric.update(boxes, labels, truth, torch.tensor([rank]))
        assert metric.compute() == {"top1": rank == 0, "top5": rank < 5, "gt_known": 1}
        fifth = localization_hits(boxes[:, :5], labels[:, :5], truth, torch.tensor([rank]), hit=">")
        ten = localization_hits(boxes, labels, truth, torch.tensor([rank]), hit=">")
        assert torch.equal(fifth, ten)


@pytest.mark.parametrize(("first", "second"), [(1, 5), (5, 1), (3, 4), (2, 10)])
def test_batches_of_other_numbers_of_classes_are_refused_and_change_nothing(first, second):
    def batch(k):
        boxes = box(0, 0, 5, 5).expand(2, k, 4)
        return boxes, torch.arange(k).expand(2, k), [boxes[0, :1]] * 2, torch.tensor([0, 9])

    metric, other = LocalizationAccuracy(hit=">="), LocalizationAccuracy(hit=">=")
    metric.update(*batch(first))
    other.update(*batch(second))
    before = {name: state.clone() for name, state in metric.metric_state.items()}
    message = r"^labels: expected the same number of classes in all batches, got "
    for call in (metric.update, metric.forward):
        with pytest.raises(ValueError, match=message):
            call(*batch(second))
    if hasattr(metric, "merge_state"):
        with pytest.raises(ValueError, match=message):
            metric.merge_state(other)
    for name, state in before.items():
        assert torch.equal(getattr(metric, name), state)
    metric.ranks = metric.ranks + other.ranks  # what two ranks sync to
    with pytest.raises(ValueError, match=message):
        metric.compute()
    metric.reset()
    metric.update(*batch(second))
    metric.update(*batch(second + 5 if second >= 5 else second))
    assert metric.compute()["top1"] == 0.5


def test_a_box_of_zeros_is_a_pixel_where_ends_are_inclusive():
    label, pixel = torch.tensor([1]), torch.zeros(1, 4)
    found = localization_errors(pixel, label, [box(0, 0, 4, 4)], label, inclusive=True)
    assert names(found) == ["part"]
    assert names(localization_errors(pixel, label, [pixel], label, inclusive=True)) == ["right"]


def test_nan_and_infinite_boxes_meet_nothing():
    label = torch.tensor([1, 1, 1, 1])
    boxes = box(0, 0, 5, 5).repeat(4, 1)
    boxes[0, 2], boxes[1], boxes[2, 2:] = torch.nan, torch.nan, torch.inf
    truth = [box(0, 0, 5, 5)] * 4
    for inclusive in (False, True):
        hits = localization_hits(
            boxes[:, None], label[:, None], truth, label, hit=">=", inclusive=inclusive
        )
        assert hits.tolist() == [[False] * 3] * 3 + [[True] * 3]
        codes = localization_errors(boxes, label, truth, label, inclusive=inclusive)
        assert names(codes) == ["other", "other", "more", "right"]


def test_no_image():
    boxes, none = torch.zeros(0, 2, 4), torch.zeros(0, dtype=torch.int64)
    assert localization_hits(boxes, none.reshape(0, 2), [], none, hit=">").shape == (0, 3)
    assert localization_errors(boxes[:, 0], none, [], none).shape == (0,)
    for metric in (LocalizationErrors(), LocalizationAccuracy(hit=">")):
        arguments = boxes if isinstance(metric, LocalizationAccuracy) else boxes[:, 0]
        metric.update(arguments, none.reshape(arguments.shape[:-1]), [], none)
        assert all(rate.isnan() for rate in metric.details())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_every_kind_of_number(dtype):
    boxes, labels, truth, true_labels, known = drawn(11)
    expected = localization_hits(
        boxes.double(), labels, truth, true_labels, hit=">=", gt_known_boxes=known
    )
    assert expected.any()
    for kind in (dtype, torch.float32):
        out = localization_hits(
            boxes.to(dtype),
            labels.int(),
            [some.to(kind) for some in truth],
            true_labels.to(torch.uint8),
            hit=">=",
            gt_known_boxes=known.to(kind),
        )
        assert torch.equal(out, expected)


def test_on_the_device_and_arguments_stay(device):
    boxes, labels, truth, true_labels, _ = drawn(5)
    moved = boxes.to(device).requires_grad_(), labels.to(device), truth, true_labels.to(device)
    out = localization_hits(*moved, hit=">")
    assert out.device.type == device.type
    assert not out.requires_grad
    assert torch.equal(out.cpu(), localization_hits(boxes, labels, truth, true_labels, hit=">"))
    codes = localization_errors(moved[0][:, 0], moved[1][:, 0], *moved[2:])
    assert torch.equal(
        codes.cpu(), localization_errors(boxes[:, 0], labels[:, 0], truth, true_labels)
    )
    assert torch.equal(boxes, drawn(5)[0])
    assert all(torch.equal(a, b) for a, b in zip(truth, drawn(5)[2], strict=True))


# --- metrics ----------------------------------------------------------------------------------------


def batch(name, seed):
    boxes, labels, truth, true_labels, known = drawn(seed)
    if name == "errors":
        return boxes[:, 0], labels[:, 0], truth, true_labels
    return boxes, labels, truth, true_labels, known


def joined(one, other):
    return [
        a + b if isinstance(a, list) else torch.cat([a, b]) for a, b in zip(one, other, strict=True)
    ]


METRICS = {"errors": LocalizationErrors, "accuracy": lambda: LocalizationAccuracy(hit=">=")}
STATES = {"errors": ["counts"], "accuracy": ["hits", "total", "ranks"]}
metrics = pytest.mark.parametrize("name", METRICS)


@metrics
@given(seed=SEEDS)
def test_batches_add_up(name, seed):
    one, other = batch(name, seed), batch(name, seed + 1)
    both, whole, first, second = (METRICS[name]() for _ in range(4))
    both.update(*one)
    both.update(*other)
    whole.update(*joined(one, other))
    first.update(*one)
    second.update(*other)
    for state in STATES[name]:
        added = getattr(first, state) + getattr(second, state)  # what two ranks sync to
        assert torch.equal(added, getattr(whole, state))
        assert torch.equal(getattr(both, state), getattr(whole, state))
        setattr(first, state, added)
    assert whole.details() == both.details() == first.details()
    if name == "errors":
        assert whole.counts.sum() == 12  # exactly one kind an image
        torch.testing.assert_close(
            torch.stack(whole.details()).sum(), torch.tensor(1.0, dtype=torch.float64)
        )


@metrics
def test_metrics_forward_reset_and_pickle(name):
    one, other = batch(name, 1), batch(name, 2)
    metric, plain = METRICS[name](), METRICS[name]()
    alone = METRICS[name]()
    alone.update(*other)
    metric(*one)
    assert metric(*other) == alone.compute()  # of the batch
    plain.update(*joined(one, other))
    assert metric.details() == plain.details()
    assert pickle.loads(pickle.dumps(metric)).details() == plain.details()
    metric.reset()
    metric.update(*other)
    assert metric.details() == alone.details()
    result = metric.details()
    assert metric.compute().items() <= result._asdict().items()
    assert isinstance(result, ErrorRates if name == "errors" else LocalizationRates)
    assert all(rate.dtype == torch.float64 and rate.shape == () for rate in result)


def test_accuracy_is_the_mean_of_hits():
    arguments = drawn(3)
    metric = LocalizationAccuracy(hit=">", iou=0.25, inclusive=True)
    metric.update(*arguments)
    hits = localization_hits(
        *arguments[:4], hit=">", iou=0.25, inclusive=True, gt_known_boxes=arguments[4]
    )
    assert torch.equal(torch.stack(metric.details()), hits.double().mean(0))


def test_error_rates_are_named_as_the_errors():
    assert list(ErrorRates._fields) == KINDS


# --- errors -----------------------------------------------------------------------------------------

BOXES, LABELS, LABEL = torch.zeros(2, 3, 4), torch.zeros(2, 3).long(), torch.zeros(2).long()
TRUTH = [torch.tensor([[0.0, 0, 1, 1]])] * 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": [[0]]}, TypeError, "boxes: expected a torch.Tensor, got list"),
        ({"boxes": BOXES.bool()}, TypeError, "boxes: expected real numbers, got torch.bool"),
        ({"boxes": BOXES[0]}, ValueError, "boxes: expected shape (B, k, 4), got (3, 4)"),
        (
            {"boxes": BOXES[:, :0]},
            ValueError,
            "boxes: expected shape (B, k, 4) with k >= 1, got (2, 0, 4)",
        ),
        ({"boxes": BOXES[..., :3]}, ValueError, "boxes: expected shape (B, k, 4), got (2, 3, 3)"),
        ({"labels": LABELS[:, :2]}, ValueError, "labels: expected shape (2, 3), got (2, 2)"),
        ({"labels": LABELS / 1}, TypeError, "labels: expected an integer dtype, got torch.float32"),
        ({"labels": LABELS > 0}, TypeError, "labels: expected an integer dtype, got torch.bool"),
        ({"labels": [1, 2]}, TypeError, "labels: expected a torch.Tensor, got list"),
        ({"target_boxes": TRUTH[:1]}, ValueError, "target_boxes: expected 2 tensors, got 1"),
        (
            {"target_boxes": [TRUTH[0], [0, 0, 1, 1]]},
            TypeError,
            "target_boxes[1]: expected a torch.Tensor, got list",
        ),
        (
            {"target_boxes": [TRUTH[0], torch.zeros(4)]},
            ValueError,
            "target_boxes[1]: expected shape (n, 4), got (4,)",
        ),
        (
            {"target_boxes": [torch.zeros(1, 5), TRUTH[0]]},
            ValueError,
            "target_boxes[0]: expected shape (n, 4), got (1, 5)",
        ),
        ({"target_labels": LABEL[:1]}, ValueError, "target_labels: expected shape (2,), got (1,)"),
        (
            {"target_labels": LABEL / 1},
            TypeError,
            "target_labels: expected an integer dtype, got torch.float32",
        ),
        (
            {"boxes": BOXES - torch.tensor([0, 0, 1, 0])},
            ValueError,
            "boxes: expected x0 <= x1 and y0 <= y1, or NaN for no box, got [0.0, 0.0, -1.0, 0.0]",
        ),
        (
            {"gt_known_boxes": BOXES[:, 0] + torch.tensor([0, 2, 0, 0])},
            ValueError,
            "gt_known_boxes: expected x0 <= x1 and y0 <= y1, or NaN for no box,"
            " got [0.0, 2.0, 0.0, 0.0]",
        ),
        (
            {"target_boxes": [TRUTH[0], torch.tensor([[0, 0, 1, 1], [3, 0, 2, 1]])]},
            ValueError,
            "target_boxes[1]: expected finite corners, x0 <= x1 and y0 <= y1,"
            " got [3.0, 0.0, 2.0, 1.0]",
        ),
        (
            {"target_boxes": [TRUTH[0] * torch.nan, TRUTH[0]]},
            ValueError,
            "target_boxes[0]: expected finite corners, x0 <= x1 and y0 <= y1,"
            " got [nan, nan, nan, nan]",
        ),
        ({"labels": LABELS - 1}, ValueError, "labels: expected classes >= 0, got -1"),
        ({"target_labels": LABEL - 7}, ValueError, "target_labels: expected classes >= 0, got -7"),
        (
            {"gt_known_boxes": BOXES},
            ValueError,
            "gt_known_boxes: expected shape (2, 4), got (2, 3, 4)",
        ),
        ({"hit": ">>"}, ValueError, "hit: expected '>=' or '>', got '>>'"),
        ({"iou": 0}, ValueError, "iou: expected a number in (0, 1], got 0"),
        ({"iou": 50}, ValueError, "iou: expected a number in (0, 1], got 50"),
        ({"iou": float("nan")}, ValueError, "iou: expected a number in (0, 1], got nan"),
    ],
)
def test_wrong_arguments_are_refused(change, error, message):
    arguments = {"boxes": BOXES, "labels": LABELS, "target_boxes": TRUTH, "target_labels": LABEL}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        localization_hits(**{**arguments, "hit": ">=", **change})
    if change.keys() & {"hit", "iou"}:
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            LocalizationAccuracy(**{"hit": ">=", **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": BOXES}, ValueError, "boxes: expected shape (B, 4), got (2, 3, 4)"),
        ({"labels": LABELS}, ValueError, "labels: expected shape (2,), got (2, 3)"),
        ({"target_boxes": TRUTH * 2}, ValueError, "target_boxes: expected 2 tensors, got 4"),
        (
            {"target_labels": LABELS},
            ValueError,
            "target_labels: expected shape (2,), got (2, 3)",
        ),
    ],
)
def test_wrong_arguments_of_errors_are_refused(change, error, message):
    arguments = {"labels": LABEL, "target_boxes": TRUTH, "target_labels": LABEL}
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        localization_errors(**{"boxes": BOXES[:, 0], **arguments, **change})


def test_the_rule_must_be_named():
    with pytest.raises(TypeError, match="hit"):
        LocalizationAccuracy()
