"""The public functions on arguments that nobody thought of.

``HYPOTHESIS_PROFILE=search`` tries 200 examples of each test for each function, more than 30,000
in all. What is checked does not depend on the function: it returns, or raises a TypeError or a
ValueError that names the argument; finite numbers give no NaN; no argument is changed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves

import wsolrefine as W
from tests.support.hostile import (
    FLOATS,
    OPTIONS,
    anything,
    leaves,
    replaced,
    tensors,
    with_bad_pixels,
)
from tests.support.strategies import SEEDS
from wsolrefine import losses as L
from wsolrefine import metrics as M

UNIT = st.floats(0, 1, allow_subnormal=False)
FLAG = st.booleans()
REDUCTION = {"reduction": st.sampled_from(["mean", "sum", "none"])}


@dataclass(frozen=True)
class Function:
    """A public function, its tensors by name in the order of a call, and legal options.

    Attributes:
        unit: values of the result lie in [0, 1].
        required: options without a default.
    """

    call: Callable
    tensors: dict
    options: dict = field(default_factory=dict)
    name: str = ""
    unit: bool = False
    required: tuple = ()

    def __str__(self):
        return self.name or self.call.__name__

    @property
    def names(self):
        return [*self.tensors, *self.options]


def updated(metric):
    """Return ``update`` and ``compute`` of a new metric as one function of the update's tensors."""

    def call(*inputs, **options):
        new = metric()
        new.update(*inputs, **options)
        return new.compute()

    return call


CAM, FEATURES, MAPS = {"cam": "B [K] H W"}, {"features": "layers: B C h w"}, {"maps": "... H W"}
ORDERS = {"orders": st.sampled_from([(1,), (2,), (1, 2), (3, 1), [2]])}
CORRELATION = {
    "first_threshold": UNIT, "second_threshold": UNIT, "second_weight": UNIT,
    "order": st.integers(1, 3),
}  # fmt: skip
IGNORE = {"ignore_index": st.sampled_from([255, 0, 7])}
MASK = {"mask": "mask: B [K] H W"}
PROBABILITY = {"probability": "unit: B H W"}
IMAGE = {"image": "unit: B 3 H W"}
KNOWN_BOXES = {"boxes": "real: B 4", "labels": "label: B", "target_boxes": "boxes: n 4"}
FUNCTIONS = [
    Function(W.minmax, MAPS, unit=True),
    Function(W.self_correlation, FEATURES, ORDERS),
    Function(W.self_correlation_released, FEATURES, CORRELATION),
    Function(
        W.scg,
        CAM | FEATURES,
        ORDERS
        | {"foreground": UNIT, "background": UNIT, "block_size": st.sampled_from([None, 1, 3, 99])},
        unit=True,
    ),
    Function(
        W.scg_released,
        CAM | FEATURES,
        CORRELATION | {"foreground": UNIT, "background": UNIT},
        unit=True,
    ),
    Function(W.sem, CAM | FEATURES, {"num_seeds": st.sampled_from([1, 3, 60, 10**9])}, unit=True),
    Function(W.confseg, {"cam": "... H W"}),
    Function(W.confseg_thresholds, {"cam": "... H W"}),
    Function(W.fit_gaussian, {"weights": "... H W"}),
    Function(
        lambda mean, covariance, size: W.gaussian_map(W.Gaussian(mean, covariance), size),
        {"mean": "B 2", "covariance": "B 2 2"},
        {"size": st.sampled_from([(1, 1), (3, 5), [2, 2]])},
        name="gaussian_map",
        required=("size",),
        unit=True,
    ),
    Function(W.gppl, CAM, unit=True),
    Function(
        W.gppl_released,
        CAM,
        {
            "size": st.sampled_from([1, 8, 20]),
            "low": UNIT,
            "high": UNIT,
            "shrink": st.sampled_from([1, 10, 0.5]),
            "min_area": st.sampled_from([0, 1, 20]),
        },
        unit=True,
    ),
    Function(
        lambda cam, **options: W.pseudo_label(cam, **options),
        CAM,
        {"foreground": st.sampled_from([0.5, 1]), "background": st.sampled_from([0.004, 0])}
        | IGNORE,
        name="pseudo_label",
    ),
    Function(W.multiply_maps, {"maps": "list: B K H W"}, unit=True),
    Function(
        W.conv_crf,
        {"unary": "B K H W"} | IMAGE,
        {
            "iterations": st.integers(0, 3),
            "kernel_size": st.sampled_from([1, 3, 5]),
            "appearance_weight": UNIT,
            "smoothness_weight": UNIT,
            "appearance_std": st.sampled_from([0.1, 10]),
            "color_std": st.sampled_from([0.01, 1]),
            "smoothness_std": st.sampled_from([0.1, 1.5]),
        },
        unit=True,
    ),
    Function(
        W.coarse_to_fine,
        {"maps": "B [K] H W"} | IMAGE,
        {
            "threshold": st.sampled_from([0.1, 0.5, 0.9]),
            "kernel_size": st.sampled_from([1, 3]),
            "scales": st.sampled_from([(1,), (2, 1), [3]]),
        },
        unit=True,
    ),
    Function(
        W.pseudo_boundary,
        {"mask_probability": "unit: B H W"} | IMAGE,
        {"threshold": UNIT, "tolerance": st.sampled_from([0, 1, 5.0])},
    ),
    Function(W.suppress_non_maxima, {"edges": "B H W"}),
    Function(W.thin, {"mask": "mask: B H W"}),
    Function(W.outline, {"mask": "target: B H W"}),
    Function(
        W.attentive_erasing,
        PROBABILITY,
        {"threshold": UNIT, "drop": UNIT, "size": st.sampled_from([(0.1, 0.5), (0, 1)])},
        unit=True,
    ),
    Function(W.connected_components, MASK, {"connectivity": st.sampled_from([4, 8])}),
    Function(W.union_box, MASK),
    Function(W.largest_box, MASK),
    Function(W.component_boxes, {"mask": "mask: B H W"}),
    Function(W.box_iou, {"boxes1": "n 4", "boxes2": "m 4"}, {"inclusive": FLAG}, unit=True),
    Function(
        W.tokens_to_map, {"tokens": "B h w C"}, {"grid": st.none(), "num_prefix_tokens": st.just(0)}
    ),
    Function(
        W.gap_cam,
        {"features": "B C h w", "weight": "K C", "labels": "label: B"},
        unit=True,
    ),
    Function(L.area_loss, PROBABILITY, {"logits": FLAG} | REDUCTION),
    Function(L.entropy_loss, PROBABILITY, {"logits": FLAG} | REDUCTION),
    Function(
        L.weighted_entropy_loss,
        PROBABILITY,
        {"mean": UNIT, "std": st.sampled_from([0.1, 1]), "detach_weight": FLAG, "logits": FLAG}
        | REDUCTION,
    ),
    Function(
        L.hard_negative_suppression_loss,
        PROBABILITY | {"boundary": "mask: B H W"},
        {"negative_weight": UNIT, "suppression": FLAG, "logits": FLAG} | REDUCTION,
    ),
    Function(L.masked_bce_loss, {"logits": "B H W", "target": "target: B H W"}, IGNORE | REDUCTION),
    Function(L.confseg_loss, {"auxiliary_map": "B H W", "cam": "B H W"}, REDUCTION),
    Function(
        L.coaug_loss,
        {
            "foreground": "B D",
            "background": "B D",
            "confident_background": "B D",
            "label": "label: B",
        },
        {"gamma": UNIT, "delta": UNIT} | REDUCTION,
    ),
    Function(
        L.multiplicative_loss,
        {"deep_logits": "B K", "fused_logits": "B K", "label": "label: B"},
        {"distill": FLAG} | REDUCTION,
    ),
    Function(
        lambda logit_map, label, **options: L.restricted_activation_loss(
            torch.cat([logit_map, logit_map[:, :1]], 1)
            if isinstance(logit_map, torch.Tensor) and logit_map.ndim == 4
            else logit_map,
            label,
            **options,
        ),
        {"logit_map": "B K H W", "label": "label: B"},
        {"threshold": UNIT, "gap": UNIT, "released": FLAG} | REDUCTION,
        name="restricted_activation_loss",
        required=("threshold", "gap"),
    ),
    Function(
        M.count_box_hits,
        {"maps": "unit: B H W", "boxes": "boxes: n 4"},
        {
            "ious": st.sampled_from([(0.5,), (0.3, 1)]),
            "thresholds": st.sampled_from([[0.2, 0.5]]),
            "all_contours": FLAG,
        },
    ),
    Function(
        M.count_box_hits_half_open,
        {"maps": "B H W", "boxes": "boxes: n 4"},
        {
            "ious": st.sampled_from([(0.5,), (0.3, 1)]),
            "thresholds": st.sampled_from([[0.2, 0.5]]),
            "all_components": FLAG,
        },
    ),
    Function(M.count_gray_levels, {"maps": "B h w", "masks": "target: B H W"}, IGNORE),
    Function(
        M.count_scores,
        {"maps": "unit: B H W", "masks": "target: B H W"},
        IGNORE | {"thresholds": st.sampled_from([None, [0, 0.5]])},
    ),
    Function(
        M.count_boundary_matches,
        {"edges": "unit: B H W", "boundaries": "mask: B H W"},
        {
            "thresholds": st.just([0.2, 0.5]),
            "tolerance": st.sampled_from([0, 0.1]),
            "suppress": FLAG,
        },
    ),
    Function(
        M.match_boundaries,
        {"predicted": "mask: B H W", "target": "mask: B H W"},
        {"tolerance": st.sampled_from([0, 0.1])},
    ),
    Function(
        M.localization_errors,
        KNOWN_BOXES | {"target_labels": "label: B"},
        {"inclusive": FLAG},
    ),
    Function(
        M.localization_hits,
        {
            "boxes": "real: B K 4",
            "labels": "label: B K",
            "target_boxes": "boxes: n 4",
            "target_labels": "label: B",
        },
        {"hit": st.sampled_from([">", ">="]), "iou": st.sampled_from([0.5, 1]), "inclusive": FLAG},
        required=("hit",),
    ),
    Function(
        M.prepare_score_map,
        {"map": "h w"},
        {"size": st.sampled_from([(4, 5), (1, 1)])},
        unit=True,
        required=("size",),
    ),
    Function(
        M.score_map_boxes,
        {"map": "unit: H W"},
        {"threshold": UNIT, "all_contours": FLAG},
        required=("threshold",),
    ),
    Function(
        M.peak_iou, {"counts": "count: B 2 256"}, {"aggregate": st.sampled_from(["pooled", "mean"])}
    ),
    Function(M.pixel_average_precision, {"counts": "count: 2 C"}),
    Function(M.boundary_score, {"counts": "count: B 4 2"}, {"thresholds": st.just([0.2, 0.5])}),
    Function(
        M.max_box_acc,
        {"hits": "count: I 2"},
        {"total": st.sampled_from([0, 50]), "thresholds": st.just(torch.tensor([0.2, 0.5]))},
        required=("total", "thresholds"),
    ),
    *(
        Function(updated(metric), inputs, name=f"{metric.__name__}.update")
        for metric, inputs in (
            (M.MaxBoxAcc, {"maps": "unit: B H W", "boxes": "boxes: n 4"}),
            (M.MaxBoxAccV2, {"maps": "unit: B H W", "boxes": "boxes: n 4"}),
            (M.PxAP, {"maps": "unit: B H W", "masks": "target: B H W"}),
            (M.PeakIoU, {"maps": "B h w", "masks": "target: B H W"}),
            (M.BoundaryScore, {"edges": "unit: B H W", "boundaries": "mask: B H W"}),
            (M.LocalizationErrors, KNOWN_BOXES | {"target_labels": "label: B"}),
        )
    ),
]
every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=str)


@st.composite
def calls(draw, function):
    """Draw legal arguments: tensors in the order of a call, and options."""
    sizes, dtype = {}, draw(st.sampled_from(FLOATS))
    inputs = [draw(tensors(spec, sizes, dtype)) for spec in function.tensors.values()]
    chosen = [name for name in function.options if name in function.required or draw(st.booleans())]
    return inputs, {name: draw(function.options[name]) for name in chosen}


def bits(tensor):
    """Return a tensor's values so that NaN equals NaN and -0 differs from 0."""
    values = tensor.detach()
    return values.clone() if tensor.device.type != "meta" and not tensor.is_sparse else None


def run(function, inputs, options):
    """Call a function; None if it refused an argument by its name. Arguments stay as they were."""
    before = [(leaf, bits(leaf)) for leaf in leaves([*inputs, *options.values()])]
    shapes = [tuple(leaf.shape) for leaf, _ in before]
    try:
        result = function.call(*inputs, **options)
    except (TypeError, ValueError) as error:
        named = "|".join(map(re.escape, function.names))
        message = str(error)
        assert re.match(rf"({named})(\[\d+\])*: expected ", message), message
        event("refused")
        result = None
    for (leaf, copy), shape in zip(before, shapes, strict=True):
        assert tuple(leaf.shape) == shape
        if copy is not None:
            assert torch.equal(leaf.detach().view_as(copy).nan_to_num(), copy.nan_to_num())
            assert torch.equal(leaf.detach().isnan(), copy.isnan())
            assert torch.equal(leaf.detach().signbit(), copy.signbit())
        assert leaf.grad is None
    return result


def floats(result):
    return [
        leaf for leaf in tree_leaves(result)
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
    ]  # fmt: skip


@every_function
@given(data=st.data())
def test_finite_arguments_of_any_size_and_layout(function, data):
    inputs, options = data.draw(calls(function))
    result = run(function, inputs, options)
    for leaf in floats(result):
        assert not leaf.isnan().any() or nothing_to_measure(function, result)
        if function.unit:
            assert leaf.detach().amin(initial=0) >= 0 if False else True
            assert ((leaf >= 0) & (leaf <= 1)).all()


def nothing_to_measure(function, result):
    """Whether a metric answers NaN because it saw no object."""
    return False


@every_function
@given(data=st.data())
def test_numbers_that_are_not_finite(function, data):
    inputs, options = data.draw(calls(function))
    seed = data.draw(SEEDS)
    inputs = [
        replaced(
            value, lambda leaf: with_bad_pixels(leaf, seed) if leaf.is_floating_point() else leaf
        )
        if data.draw(st.booleans())
        else value
        for value in inputs
    ]
    result = run(function, inputs, options)
    if function.unit:
        for leaf in floats(result):
            assert ((leaf >= 0) & (leaf <= 1)).all()


@every_function
@given(data=st.data())
def test_one_argument_of_another_kind(function, data):
    inputs, options = data.draw(calls(function))
    at = data.draw(st.integers(0, len(function.names) - 1))
    if at < len(inputs):
        inputs[at] = data.draw(anything())
    else:
        options[function.names[at]] = data.draw(st.sampled_from(OPTIONS))
    run(function, inputs, options)


@every_function
@given(data=st.data())
def test_tensors_without_values(function, data):
    inputs, options = data.draw(calls(function))
    some = [data.draw(st.booleans()) or data.draw(st.booleans()) for _ in inputs]
    inputs = [
        replaced(value, lambda leaf: leaf.detach().to("meta")) if chosen else value
        for value, chosen in zip(inputs, some, strict=True)
    ]
    run(function, inputs, options)
