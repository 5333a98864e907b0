"""Every argument of every public function refuses every wrong value by its own name.

A new function is covered by listing it here; ``test_every_public_name_is_listed`` fails until it is.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch

import wsolrefine as w
from tests.support import wrong_values as kinds
from tests.support.wrong_values import WRONG, Kind
from wsolrefine import losses, nn, viz


@dataclass(frozen=True)
class Call:
    """A function, arguments with which it works, and what each may be.

    Attributes:
        function: what is called; its signature names the arguments.
        arguments: by name, those without a default.
        kinds: by name, of all arguments.
        named: what an error calls an argument, where that is not its name.
    """

    function: Callable
    arguments: dict
    kinds: dict[str, Kind]
    named: dict[str, str] = field(default_factory=dict)


CAM, MAPS, FEATURES = torch.rand(2, 5, 6), torch.rand(2, 3, 5, 6), torch.rand(2, 4, 5, 6)
IMAGE, MASK = torch.rand(2, 3, 5, 6), torch.rand(2, 5, 6) > 0.5
BOXES, LABEL = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([0, 1])
RELEASED = {
    "first_threshold": kinds.any_number,
    "second_threshold": kinds.any_number,
    "second_weight": kinds.not_negative,
    "order": kinds.count,
}
LOSS = {"reduction": kinds.choice("mean", "sum", "none")}
PIXELS = {"probability": kinds.tensor_of_any_shape, "logits": kinds.flag, **LOSS}


def of(function, arguments, options=None, **named):
    """A call whose arguments without a default are tensors, unless ``options`` say otherwise."""
    kinds_of = dict.fromkeys(arguments, kinds.tensor) | (options or {})
    return Call(function, arguments, kinds_of, named)


CALLS = {
    "wsolrefine": [
        of(
            w.attentive_erasing,
            {"probability": CAM},
            {
                "threshold": kinds.any_number,
                "drop": kinds.fraction,
                "size": Kind((0.1, 0.5), [0, 1], torch.rand(2).sort()[0].numpy()),
                "generator": kinds.generator,
            },
        ),
        of(w.box_iou, {"boxes1": BOXES, "boxes2": BOXES}, {"inclusive": kinds.flag}),
        of(
            w.coarse_to_fine,
            {"maps": CAM, "image": IMAGE},
            {"threshold": kinds.open_fraction, "scales": kinds.counts, "kernel_size": kinds.odd},
        ),
        of(w.component_boxes, {"mask": MASK}),
        of(w.confseg, {"cam": CAM}),
        of(w.confseg_thresholds, {"cam": CAM}),
        of(w.connected_components, {"mask": MASK}, {"connectivity": kinds.choice(4, 8)}),
        of(
            w.conv_crf,
            {"unary": MAPS, "image": IMAGE},
            {
                "iterations": kinds.count_from_zero,
                "kernel_size": kinds.odd,
                "appearance_weight": kinds.not_negative,
                "appearance_std": kinds.positive_or_infinite,
                "color_std": kinds.positive_or_infinite,
                "smoothness_weight": kinds.not_negative,
                "smoothness_std": kinds.positive_or_infinite,
            },
        ),
        of(w.fit_gaussian, {"weights": CAM}),
        of(
            w.gaussian_map,
            {"gaussian": w.fit_gaussian(CAM), "size": (5, 6)},
            {"size": kinds.size},
            gaussian="gaussian|mean|covariance",
        ),
        of(w.gppl, {"cam": CAM}),
        of(
            w.gppl_released,
            {"cam": CAM},
            {
                "size": kinds.count,
                "low": kinds.number,
                "high": kinds.number,
                "shrink": kinds.positive,
                "min_area": Kind(
                    3, inf, legal=kinds.NUMBERS - {"minus one"} | {"infinity", "huge"}
                ),
            },
        ),
        of(w.largest_box, {"mask": MASK}),
        of(w.minmax, {"maps": CAM}),
        of(w.multiply_maps, {"maps": [CAM, CAM]}),
        of(w.outline, {"mask": MASK.byte()}),
        of(
            w.pseudo_boundary,
            {"mask_probability": CAM, "image": IMAGE},
            {
                "threshold": kinds.any_number,
                "low": Kind(3, legal={"a half", "zero", "two"}, either={"a million"}),
                "high": Kind(200, legal={"a million"}, either={"a half", "zero", "two"}),
                "tolerance": kinds.not_negative,
            },
            high="high|low",
        ),
        of(
            w.pseudo_label,
            {"cam": CAM},
            {
                "foreground": Kind(0.25, inf, legal=kinds.NUMBERS | {"infinity", "huge"}),
                "background": Kind(0.25, -inf, legal=kinds.NUMBERS | {"minus infinity"}),
                "ignore_index": kinds.count_from_zero,
            },
            background="background|foreground",
        ),
        of(
            w.scg,
            {"cam": CAM, "features": FEATURES},
            {
                "orders": kinds.counts,
                "foreground": kinds.threshold_tensor,
                "background": kinds.threshold_tensor,
                "block_size": kinds.count.or_none(),
            },
        ),
        of(
            w.scg_released,
            {"cam": CAM, "features": FEATURES},
            RELEASED | {"foreground": kinds.any_number, "background": kinds.any_number},
        ),
        of(w.self_correlation, {"features": FEATURES}, {"orders": kinds.counts}),
        of(w.self_correlation_released, {"features": FEATURES}, RELEASED),
        of(w.sem, {"cam": CAM, "features": FEATURES}, {"num_seeds": kinds.count}),
        of(w.suppress_non_maxima, {"edges": CAM}),
        of(w.thin, {"mask": MASK}),
        of(
            w.tokens_to_map,
            {"tokens": torch.rand(2, 16, 4)},
            {
                "grid": Kind((4, 4), [2, 8], torch.Size([1, 16])).or_none(),
                "num_prefix_tokens": Kind(0, 7, 15, legal={"zero"}),
            },
            num_prefix_tokens="num_prefix_tokens|tokens",
        ),
        of(w.union_box, {"mask": MASK}),
    ],
    "wsolrefine.losses": [
        of(losses.area_loss, {"probability": CAM}, PIXELS),
        of(
            losses.coaug_loss,
            {
                "foreground": CAM[0, :2],
                "background": CAM[0, 2:4],
                "confident_background": CAM[1, :2],
                "label": LABEL,
            },
            {"gamma": kinds.not_negative, "delta": kinds.not_negative} | LOSS,
        ),
        of(losses.confseg_loss, {"auxiliary_map": CAM, "cam": CAM}, LOSS),
        of(losses.entropy_loss, {"probability": CAM}, PIXELS),
        of(
            losses.hard_negative_suppression_loss,
            {"probability": CAM, "boundary": MASK},
            {"negative_weight": kinds.not_negative, "suppression": kinds.flag} | PIXELS,
            probability="probability|boundary",
        ),
        of(
            losses.masked_bce_loss,
            {"logits": CAM, "target": MASK.byte()},
            {
                "logits": kinds.tensor_of_any_shape,
                "ignore_index": Kind(255, 7, legal={"zero", "two"}),
            }
            | LOSS,
        ),
        of(
            losses.multiplicative_loss,
            {"deep_logits": CAM[0, :2], "fused_logits": CAM[1, :2], "label": LABEL},
            {"distill": kinds.flag} | LOSS,
        ),
        of(
            losses.restricted_activation_loss,
            {"logit_map": MAPS, "label": LABEL, "threshold": 0.1, "gap": 0.2},
            {"threshold": kinds.number, "gap": kinds.not_negative, "released": kinds.flag} | LOSS,
        ),
        of(
            losses.weighted_entropy_loss,
            {"probability": CAM},
            PIXELS
            | {
                "mean": kinds.number,
                "std": kinds.positive_or_infinite,
                "detach_weight": kinds.flag,
            },
        ),
    ],
}


class Passed(torch.nn.Module):
    """A backbone of one stage."""

    def forward(self, images):
        return [images]


def forward(module, arguments, **named):
    """The call of a module; a parameter that takes a list of stages takes nothing else."""
    return of(module.forward, arguments, **named)


STAGES = [torch.rand(2, 4, 5, 6), torch.rand(2, 8, 3, 3)]
HEAD = {"in_channels": kinds.count, "num_classes": kinds.count, "width": kinds.count}
CALLS["wsolrefine.nn"] = [
    of(nn.ActivationGenerator, {"in_channels": 4, "num_classes": 3}, HEAD),
    of(
        nn.ConvolutionalHead,
        {"in_channels": 4, "num_classes": 3},
        HEAD | {"dropout": kinds.fraction},
    ),
    of(
        nn.EdgeHead,
        {"channels": [4, 8]},
        {"channels": kinds.counts, "width": kinds.count, "size": kinds.size},
    ),
    of(
        nn.FeatureList,
        {"model": torch.nn.Sequential(torch.nn.ReLU()), "layers": ["0"]},
        {"layers": Kind(("0",), ["0"])},
    ),
    of(
        nn.MFFNet,
        {"channels": [4, 8, 16], "num_outputs": 3},
        {
            "channels": Kind((2, 1, 3), np.array([2, 1, 3]), legal={"list"}, either={"tuple"}),
            "num_outputs": kinds.count,
            "stages": Kind(1, np.int64(2), legal={"two"}),
            "fusion": kinds.choice("multiplication", "addition", "concatenation"),
            "attention": kinds.flag,
            "width": kinds.count,
            "dropout": kinds.fraction,
        },
    ),
    of(
        nn.MultiplicativeChannelAttention,
        {"channels": [4, 8]},
        {"channels": kinds.counts, "width": kinds.count},
    ),
    of(nn.stage_channels, {"backbone": Passed(), "images": IMAGE}),
]
FORWARDS = [
    forward(nn.ActivationGenerator(4, 3).eval(), {"features": FEATURES}),
    forward(nn.ConvolutionalHead(4, 3).eval(), {"features": FEATURES}),
    forward(nn.EdgeHead([4, 8]).eval(), {"features": STAGES, "maps": CAM}),
    forward(nn.FeatureList(torch.nn.Sequential(torch.nn.ReLU()), ["0"]), {"images": IMAGE}),
    forward(nn.MFFNet([4, 8], 3, stages=2).eval(), {"features": STAGES}),
    forward(nn.MultiplicativeChannelAttention([4, 8]).eval(), {"features": STAGES}),
]

PICTURE = np.zeros((5, 6, 3), np.uint8)
FILE = {"path": Kind("x.png", Path("x.png"), either={"text"})}
CALLS["wsolrefine.viz"] = [
    of(
        viz.contact_sheet,
        {"rows": [[PICTURE]], "titles": ["x"], "path": "x.png"},
        {
            "rows": Kind([[None]], ([PICTURE],)),
            "titles": Kind(("x", "y"), legal={"list of texts"}),
            "captions": Kind(("x",), legal={"list of texts", "None"}),
            "cell": Kind(0.5, np.float32(2), legal={"a half", "two"}),
        }
        | FILE,
    ),
    of(
        viz.draw_boxes,
        {"image": PICTURE, "boxes": [1, 1, 3, 3]},
        {
            "boxes": Kind([[1, 1, 3, 3]], torch.zeros(2, 4), [], legal={"empty tuple"}),
            "labels": Kind(("x",), legal={"list of texts", "None"}),
            "color": Kind((1, 2, 3), np.array([1, 2, 3]), legal={"list"}),
            "width": Kind(3, np.int64(3), legal={"two", "None"}),
            "dashed": kinds.flag,
        },
    ),
    of(
        viz.overlay,
        {"image": PICTURE, "map": np.zeros((5, 6))},
        {"alpha": kinds.fraction, "colormap": Kind("gray")},
    ),
    of(
        viz.plot_bars,
        {"values": {"x": 1}, "path": "x.png", "x_label": "x"},
        {
            "values": Kind({"x": 0.5, "y": np.float32(1)}, legal={"dict"}),
            "x_label": kinds.text,
            "title": kinds.text.or_none(),
        }
        | FILE,
    ),
    of(
        viz.plot_curves,
        {"series": {"x": ([0, 1], [0, 1])}, "path": "x.png", "x_label": "x", "y_label": "y"},
        {
            "series": Kind({"x": [torch.rand(3), np.ones(3)]}),
            "x_label": kinds.text,
            "y_label": kinds.text,
            "title": kinds.text.or_none(),
            "marks": Kind({"x": 0.5}, {}, legal={"dict", "None"}),
        }
        | FILE,
    ),
]

# Results and settings, which check nothing.
RECORDS = {"ClassActivation", "Classifier", "ConfSeg", "Gaussian", "Layers", "Localization"}
# Functions of a model and an image; tests/activation and tests/localization have their errors.
OF_MODELS = {"Localizer", "Preprocess", "capture", "class_activation", "find_layers"} | {
    "find_stages", "gap_cam", "grad_cam", "load_classifier", "localize"
}  # fmt: skip
NOT_HERE = {
    "wsolrefine": RECORDS | OF_MODELS,
    "wsolrefine.nn": {"Activation", "MFFMaps"},
}


def parameters(call):
    return inspect.signature(call.function).parameters


ALL = [*(call for calls in CALLS.values() for call in calls), *FORWARDS]
ARGUMENTS = [(call, name) for call in ALL for name in call.kinds]


def label(value):
    return value.function.__qualname__ if isinstance(value, Call) else None


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """What is written is written here."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("module", CALLS)
def test_every_public_name_is_listed(module):
    listed = [call.function.__name__ for call in CALLS[module]]
    assert len(listed) == len({*listed})
    assert {*listed} | NOT_HERE.get(module, set()) == {*import_module(module).__all__}


@pytest.mark.parametrize("call", ALL, ids=label)
def test_every_argument_of_it_has_a_kind(call):
    assert {*call.kinds} == {*parameters(call)}
    without_default = {name for name, p in parameters(call).items() if p.default is p.empty}
    assert {*call.arguments} == without_default
    call.function(**call.arguments)


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=label)
def test_wrong_values_are_refused_by_name(call, name):
    kind, named = call.kinds[name], call.named.get(name, name)
    message = re.compile(rf"({named})(\[[\w\d]+\])*: expected \S.*, got .*", re.DOTALL)
    for wrong, value in WRONG.items():
        if wrong in kind.legal | kind.either:
            continue
        with pytest.raises((TypeError, ValueError)) as error:
            call.function(**{**call.arguments, name: value})
        assert message.fullmatch(str(error.value)), (wrong, str(error.value))
        assert len(str(error.value)) < 700


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=label)
def test_right_values_pass(call, name):
    for value in call.kinds[name].right:
        call.function(**{**call.arguments, name: value})


def test_a_value_that_no_check_catches_is_seen():
    """The test above fails for a function without checks."""

    def unchecked(cam, *, size=2):
        return cam.sum() * size

    for wrong in (unchecked, lambda cam, *, size=2: int("x")):
        call = Call(wrong, {"cam": CAM}, {"cam": kinds.tensor, "size": kinds.number})
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            test_wrong_values_are_refused_by_name(call, "size")
