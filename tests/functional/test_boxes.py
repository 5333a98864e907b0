import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.references import components as reference
from tests.references.normalize import every_map
from tests.support.strategies import FLIPS, SEEDS, flip, generator, masks
from wsolrefine import (
    box_iou,
    component_boxes,
    connected_components,
    largest_box,
    minmax,
    union_box,
)


def filled(boxes, size):
    """The masks of whole-pixel boxes."""
    y, x = torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij")
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


@given(masks())
def test_union_box_matches_reference(mask):
    out = union_box(mask)
    expected = every_map(lambda m: torch.tensor(reference.box(m)), mask.numpy())
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.from_numpy(expected).float())


@given(masks())
def test_largest_box_matches_reference(mask):
    def first(one):
        boxes = reference.component_boxes(one)
        return torch.tensor(boxes[0] if boxes else [0, 0, 0, 0])

    out = largest_box(mask)
    assert out.dtype == torch.float32
    assert torch.equal(out, torch.from_numpy(every_map(first, mask.numpy())).float())


@given(masks(with_maps=False))
def test_component_boxes_match_reference(mask):
    out = component_boxes(mask)
    assert len(out) == len(mask)
    for boxes, one in zip(out, mask, strict=True):
        expected = torch.tensor(reference.component_boxes(one.numpy())).reshape(-1, 4)
        assert boxes.dtype == torch.float32
        assert torch.equal(boxes, expected.float())


@given(masks(maximum=12, with_maps=False))
def test_the_three_agree(mask):
    every, largest, union = component_boxes(mask), largest_box(mask), union_box(mask)
    for boxes, one, whole in zip(every, largest, union, strict=True):
        if len(boxes):
            assert torch.equal(boxes[0], one)
            hull = torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])
            assert torch.equal(hull, whole)
        else:
            assert not one.any()
            assert not whole.any()


@st.composite
def whole_boxes(draw):
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    boxes = []
    for _ in range(draw(st.integers(1, 4))):
        x0, y0 = draw(st.integers(0, w - 1)), draw(st.integers(0, h - 1))
        boxes.append([x0, y0, draw(st.integers(x0 + 1, w)), draw(st.integers(y0 + 1, h))])
    return torch.tensor(boxes, dtype=torch.float32), (h, w)


@given(whole_boxes())
def test_box_of_a_filled_box_is_the_box(drawn):
    boxes, size = drawn
    mask = filled(boxes, size)
    assert torch.equal(union_box(mask), boxes)
    assert torch.equal(largest_box(mask), boxes)
    for found, box in zip(component_boxes(mask), boxes, strict=True):
        assert torch.equal(found, box[None])


@given(masks(maximum=12), FLIPS)
def test_union_box_flips_with_the_mask(mask, how):
    h, w = mask.shape[-2:]
    x0, y0, x1, y1 = union_box(mask).unbind(-1)
    turned = {
        "transpose": (y0, x0, y1, x1),
        "rows": (x0, h - y1, x1, h - y0),
        "columns": (w - x1, y0, w - x0, y1),
    }
    expected = torch.stack(turned[how], -1) * mask.flatten(-2).any(-1, keepdim=True)
    assert torch.equal(union_box(flip(mask, how)), expected)


def test_largest_is_by_pixels_and_the_first_among_equals():
    mask = torch.tensor(
        [[[1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 1]]],
        dtype=torch.bool,
    )
    assert largest_box(mask).tolist() == [[0, 0, 2, 2]]
    found = component_boxes(mask)[0].tolist()
    assert found == [[0, 0, 2, 2], [3, 2, 6, 4], [5, 0, 6, 1]]
    ties = torch.tensor([[[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]]], dtype=torch.bool)
    found = component_boxes(ties)[0].tolist()
    assert found == [[2, 2, 4, 3], [1, 0, 2, 1], [3, 0, 4, 1], [0, 2, 1, 3]]


def test_no_pixel():
    mask = torch.zeros(2, 3, 4, 5, dtype=torch.bool)
    assert torch.equal(union_box(mask), torch.zeros(2, 3, 4))
    assert torch.equal(largest_box(mask), torch.zeros(2, 3, 4))
    assert [boxes.shape for boxes in component_boxes(mask[:, 0])] == [(0, 4), (0, 4)]


# --- IoU --------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_box_iou_matches_reference(seed, n, m, inclusive):
    g = generator(seed)
    first, second = (torch.randint(-1, 7, (k, 4), generator=g).double() for k in (n, m))
    out = box_iou(first, second, inclusive=inclusive)
    assert out.shape == (n, m)
    for i in range(n):
        for j in range(m):
            one, other = first[i].tolist(), second[j].tolist()
            assert_close(out[i, j].item(), float(reference.box_iou(one, other, int(inclusive))))


@given(SEEDS, st.booleans())
def test_box_iou_properties(seed, inclusive):
    g = generator(seed)
    start = 10 * torch.rand(4, 2, generator=g, dtype=torch.float64)
    boxes = torch.cat(
        [start, start + 0.1 + 5 * torch.rand(4, 2, generator=g, dtype=torch.float64)], 1
    )
    out = box_iou(boxes, boxes, inclusive=inclusive)
    assert_close(out, out.mT)
    assert_close(out.diagonal(), torch.ones(4, dtype=torch.float64))
    assert ((out >= 0) & (out <= 1)).all()
    assert_close(box_iou(boxes + 3, boxes + 3, inclusive=inclusive), out)
    if not inclusive:
        assert_close(box_iou(boxes * 7, boxes * 7), out)


@given(whole_boxes())
def test_box_iou_counts_the_pixels_of_masks(drawn):
    boxes, size = drawn
    mask = filled(boxes, size).flatten(1).double()
    both = mask @ mask.mT
    union = mask.sum(1)[:, None] + mask.sum(1) - both
    assert_close(box_iou(boxes.double(), boxes.double()), both / union)
    ends = boxes.double() - torch.tensor([0, 0, 1, 1])
    assert_close(box_iou(ends, ends, inclusive=True), both / union)


def test_empty_and_reversed_boxes_have_no_area():
    boxes = torch.tensor([[0.0, 0, 0, 0], [4, 4, 1, 1], [4, 1, 1, 4], [2, 2, 2, 5], [0, 0, 5, 5]])
    expected = torch.zeros(5, 5)
    expected[4, 4] = 1
    assert torch.equal(box_iou(boxes, boxes), expected)
    # With whole pixels and inclusive ends, a box of zeros is one pixel.
    one = torch.zeros(1, 4)
    assert torch.equal(box_iou(one, one, inclusive=True), torch.ones(1, 1))
    assert_close(box_iou(one, boxes[4:], inclusive=True), torch.tensor([[1 / 36]]))
    assert torch.equal(box_iou(boxes[1:3], boxes, inclusive=True), torch.zeros(2, 5))


def test_boxes_far_away_do_not_overflow_half_precision():
    boxes = torch.tensor([[0.0, 0.0, 600.0, 600.0], [300.0, 0.0, 600.0, 600.0]]).half()
    assert_close(box_iou(boxes, boxes), torch.tensor([[1.0, 0.5], [0.5, 1.0]]).half())


def test_golden_iou_of_spol(golden):
    case = {k: torch.from_numpy(v).double() for k, v in golden("spol_seg_box").items()}
    out = box_iou(case["iou_a"], case["iou_b"]).diagonal()
    assert_close(out, case["iou"], rtol=0, atol=1e-9)  # theirs adds 1e-12 to the union


def test_golden_iou_of_wsolevaluation(golden):
    case = {k: torch.from_numpy(v).double() for k, v in golden("wsol_utils").items()}
    assert_close(
        box_iou(case["iou_a"], case["iou_b"], inclusive=True), case["iou"], rtol=0, atol=1e-12
    )


# --- boxes of SPA's released evaluation -------------------------------------------------------------


def largest_extent(mask):
    """Their mode "max": the 4-connected component whose bounding box is the largest."""
    labels = connected_components(mask, connectivity=4)
    boxes = union_box(torch.arange(1, int(labels.max()) + 1)[:, None, None] == labels)
    x0, y0, x1, y1 = boxes.unbind(1)
    return boxes[((x1 - x0) * (y1 - y0)).argmax()]


@pytest.mark.parametrize("image", range(8))
def test_golden_boxes_of_spa(golden, image):
    case = golden("spa_boxes")
    width, height = case["image_wh"][image].tolist()
    classes = torch.from_numpy(case["logits"][image]).argsort(descending=True)[:5].tolist()
    classes.append(int(case["gt_label"][image]))
    maps = minmax(torch.from_numpy(case["loc_maps"][image])[classes])
    maps = F.interpolate(maps[:, None], (height, width), mode="bilinear")[:, 0]
    inclusive = torch.tensor([0, 0, 1, 1])
    for n, threshold in enumerate(case["thresholds"].tolist()):
        mask = maps >= threshold
        expected = torch.from_numpy(case["boxes_union"][image, n])
        assert expected[:, 0].tolist() == classes
        assert torch.equal((union_box(mask) - inclusive).long(), expected[:, 1:])
        expected = torch.from_numpy(case["boxes_max"][image, n])
        found = torch.stack([largest_extent(one[None]) for one in mask])
        assert torch.equal((found - inclusive).long(), expected[:, 1:])


# --- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [union_box, largest_box, component_boxes])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[True]], "mask: expected a torch.Tensor, got list"),
        (torch.ones(1, 2, 2), "mask: expected dtype torch.bool, got torch.float32"),
        (
            torch.ones(1, 2, 2, dtype=torch.uint8),
            "mask: expected dtype torch.bool, got torch.uint8",
        ),
    ],
)
def test_mask_type_errors(function, mask, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        function(mask)


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (union_box, (2, 4), "mask: expected shape (B, H, W) or (B, K, H, W), got (2, 4)"),
        (
            largest_box,
            (1, 1, 1, 2, 4),
            "mask: expected shape (B, H, W) or (B, K, H, W), got (1, 1, 1, 2, 4)",
        ),
        (component_boxes, (2, 4), "mask: expected shape (B, H, W), got (2, 4)"),
        (component_boxes, (2, 3, 4, 4), "mask: expected shape (B, H, W), got (2, 3, 4, 4)"),
    ],
)
def test_mask_shape_errors(function, shape, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(torch.ones(shape, dtype=torch.bool))


BOXES = torch.ones(3, 4)


@pytest.mark.parametrize(
    ("boxes1", "boxes2", "error", "message"),
    [
        ([[1.0]], BOXES, TypeError, "boxes1: expected a torch.Tensor, got list"),
        (
            BOXES.long(),
            BOXES,
            TypeError,
            "boxes1: expected a floating-point dtype, got torch.int64",
        ),
        (
            BOXES,
            BOXES.long(),
            TypeError,
            "boxes2: expected a floating-point dtype, got torch.int64",
        ),
        (
            BOXES,
            BOXES.double(),
            TypeError,
            "boxes2: expected torch.float32 as boxes1, got torch.float64",
        ),
        (torch.ones(4), BOXES, ValueError, "boxes1: expected shape (n, 4), got (4,)"),
        (BOXES, torch.ones(2, 5), ValueError, "boxes2: expected shape (m, 4), got (2, 5)"),
    ],
)
def test_iou_errors(boxes1, boxes2, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        box_iou(boxes1, boxes2)


def test_a_box_that_vanishes_beside_the_other_has_a_finite_gradient():
    one = torch.tensor([[0.1152, 0.6016, 0.7266, 0.6992]]).requires_grad_()
    other = torch.tensor([[3.2e38, -2.4e38, 2.8e38, -3.3e38]])
    out = box_iou(one, other)
    assert not out.any()
    assert torch.autograd.grad(out.sum(), one)[0].isfinite().all()
