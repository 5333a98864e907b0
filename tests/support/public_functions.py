"""The public functions of tensors: what each takes, and what it promises of its result.

``tests/project/test_fuzz.py`` tries all that is listed here, and fails for a function that is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from hypothesis import strategies as st

import wsolrefine as w
from tests.support.hostile import FLOATS
from wsolrefine import data, losses, metrics, nn, viz
from wsolrefine.data import RandomCrop

FRACTION = st.floats(0, 1, allow_subnormal=False)
FLAG = st.booleans()


@dataclass(frozen=True)
class Function:
    """A public function, the specs of its tensors in the order of a call, and its legal options.

    Attributes:
        call: what is called, of the tensors by position and the options by name.
        tensors: specs of ``tests.support.hostile`` by the name of the argument.
        options: strategies by the name of the option.
        required: names of the options without a default.
        name: if it is not that of ``call``.
        unit: the result lies in [0, 1]: "always", or where all "inputs" are finite.
        nothing: whether there is nothing to measure in legal tensors, so that NaN is the answer.
        prepare: from the tensors as drawn to those of a call, where one depends on another.
        dtypes: of the tensors.
        given: an argument that ``call`` brings with it, which an error may name.
        gradient: arguments in which the result is differentiable.
        linear: arguments in which it is linear, so that the gradient of the others is as large.
    """

    call: Callable
    tensors: Mapping[str, str]
    options: Mapping[str, st.SearchStrategy] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    name: str = ""
    unit: str = ""
    nothing: Callable[..., bool] = lambda *tensors: False
    prepare: Callable[..., list] = lambda *tensors: list(tensors)
    dtypes: tuple[torch.dtype, ...] = tuple(FLOATS)
    given: str = ""
    gradient: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()

    def __str__(self):
        return self.name or self.call.__name__

    @property
    def names(self):
        """What an error may name."""
        return [*self.tensors, *self.options, *filter(None, [self.given])]


CAM, FEATURES, MAPS = {"cam": "B [K] H W"}, {"features": "layers: B C h w"}, {"maps": "... H W"}
MASK, IMAGE = {"mask": "mask: B [K] H W"}, {"image": "unit: B 3 H W"}
ORDERS = {"orders": st.sampled_from([(1,), (2,), (1, 2), (3, 1), [2]])}
GRIDS = st.sampled_from([None, (2, 3), (1, 1)])
SEEDS = {"foreground": FRACTION, "background": FRACTION}
RELEASED = {
    "first_threshold": FRACTION, "second_threshold": FRACTION, "second_weight": FRACTION,
    "order": st.integers(1, 3),
}  # fmt: skip
CORE = [
    Function(w.minmax, MAPS, unit="always", gradient=("maps",)),
    Function(w.self_correlation, FEATURES, ORDERS, gradient=("features",)),
    Function(w.self_correlation_released, FEATURES, RELEASED, gradient=("features",)),
    Function(
        w.scg,
        CAM | FEATURES,
        ORDERS | SEEDS | {"block_size": st.sampled_from([None, 1, 3, 99])},
        unit="always",
        gradient=("features",),
    ),
    Function(
        w.scg_released, CAM | FEATURES, RELEASED | SEEDS, unit="always", gradient=("features",)
    ),
    Function(
        w.sem,
        CAM | FEATURES,
        {"num_seeds": st.sampled_from([1, 60, 10**9])},
        unit="always",
        gradient=("features",),
    ),
    Function(w.confseg, {"cam": "... H W"}),
    Function(w.confseg_thresholds, {"cam": "... H W"}, gradient=("cam",)),
    Function(w.fit_gaussian, {"weights": "... H W"}, gradient=("weights",)),
    Function(
        lambda mean, covariance, size: w.gaussian_map(w.Gaussian(mean, covariance), size),
        {"mean": "B 2", "covariance": "B 2 2"},
        {"size": st.sampled_from([(1, 1), (3, 5), [2, 2]])},
        ("size",),
        name="gaussian_map",
        unit="always",
        gradient=("mean", "covariance"),
    ),
    Function(w.gppl, CAM, unit="always", gradient=("cam",)),
    Function(
        w.gppl_released,
        CAM,
        {
            "size": st.sampled_from([1, 8, 20]),
            "low": FRACTION,
            "high": FRACTION,
            "shrink": st.sampled_from([1, 10, 0.5]),
            "min_area": st.sampled_from([0, 1, 20]),
        },
        unit="always",
    ),
    Function(
        w.pseudo_label,
        CAM,
        {
            "foreground": st.sampled_from([0.5, 1]),
            "background": st.sampled_from([0.004, 0]),
            "ignore_index": st.sampled_from([255, 0, 7]),
        },
    ),
    Function(
        w.multiply_maps,
        {"maps": "list: B K H W"},
        {"powers": st.sampled_from([None, (0.5, 2)])},
        unit="always",
        gradient=("maps",),
    ),
    Function(
        w.feature_affinity,
        {"features": "layers: B C h w"},
        {"size": st.sampled_from([(1, 1), (3, 5)]), "power": st.sampled_from([0.5, 1, 3])},
        ("size",),
        unit="always",
        gradient=("features",),
    ),
    Function(
        w.label_spreading,
        {"cam": "B [K] H W", "features": "layers: B C h w", "image": "B 3 H2 W2"},
        {"alpha": st.floats(0, 0.999), "size": st.sampled_from([None, (2, 3)])},
        unit="always",
        gradient=("cam", "features", "image"),
    ),
    Function(w.pc1, CAM | FEATURES, {"size": GRIDS}, unit="always"),
    Function(
        w.ncut,
        CAM | FEATURES,
        {"threshold": st.sampled_from([-0.5, 0.0, 0.2]), "size": GRIDS},
        unit="always",
    ),
    Function(
        w.pamr,
        {"maps": "B [K] h w", "image": "B C H W"},
        {"iterations": st.integers(0, 3), "dilations": st.sampled_from([(1,), [2, 1]])},
        gradient=("maps", "image"),
        linear=("maps",),
    ),
    Function(
        w.conv_crf,
        {"unary": "B K H W"} | IMAGE,
        {
            "iterations": st.integers(0, 3),
            "kernel_size": st.sampled_from([1, 3, 5]),
            "appearance_weight": FRACTION,
            "smoothness_weight": FRACTION,
            "appearance_std": st.sampled_from([0.1, 10]),
            "color_std": st.sampled_from([0.01, 1]),
            "smoothness_std": st.sampled_from([0.1, 1.5]),
        },
        unit="always",
        gradient=("unary", "image"),
    ),
    Function(
        w.coarse_to_fine,
        {"maps": "B [K] H W"} | IMAGE,
        {
            "threshold": st.sampled_from([0.1, 0.5, 0.9]),
            "kernel_size": st.sampled_from([1, 3]),
            "scales": st.sampled_from([(1,), (2, 1), [3]]),
        },
        unit="always",
        gradient=("maps", "image"),
    ),
    Function(
        w.pseudo_boundary,
        {"mask_probability": "unit: B H W"} | IMAGE,
        {"threshold": FRACTION, "tolerance": st.sampled_from([0, 1, 5.0])},
    ),
    Function(w.suppress_non_maxima, {"edges": "B H W"}, gradient=("edges",)),
    Function(w.thin, {"mask": "mask: B H W"}),
    Function(w.outline, {"mask": "target: B H W"}),
    Function(
        w.attentive_erasing,
        {"probability": "unit: B H W"},
        {
            "threshold": FRACTION,
            "drop": FRACTION,
            "size": st.sampled_from([(0.1, 0.5), (0, 1)]),
        },
        unit="inputs",
        gradient=("probability",),
    ),
    Function(w.connected_components, MASK, {"connectivity": st.sampled_from([4, 8])}),
    Function(w.union_box, MASK),
    Function(
        w.instance_labels,
        {"maps": "B [K] H W"},
        {"threshold": FRACTION, "min_prominence": FRACTION, "min_area": FRACTION},
        ("threshold",),
    ),
    Function(w.largest_box, MASK),
    Function(w.component_boxes, {"mask": "mask: B H W"}),
    Function(
        w.box_iou,
        {"boxes1": "n 4", "boxes2": "m 4"},
        {"inclusive": FLAG},
        unit="inputs",
        gradient=("boxes1", "boxes2"),
    ),
    Function(w.tokens_to_map, {"tokens": "B h w C"}, gradient=("tokens",)),
    Function(
        w.gap_cam,
        {"features": "B C h w", "weight": "K C", "labels": "label: B"},
        unit="always",
        gradient=("features", "weight"),
    ),
]


def scored(activation, weight):
    """Return an activation and class scores that are linear in its means."""
    activation = activation.detach().clone().requires_grad_()
    return [activation, activation.mean((2, 3)) @ weight.detach().clone().T]


# Of a model: the numbers in it may overflow, so images in [0, 1] and weights of usual size.
torch.manual_seed(0)
MODEL = torch.nn.Sequential(
    torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, 2, 1),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3),
)  # fmt: skip
LAYERS = w.find_layers(MODEL, torch.rand(1, 3, 16, 16))
IMAGES = {"images": "unit: B 3 H W"}
CLASSES = {"labels": st.sampled_from([None, 0, 2]), "top": st.integers(1, 3)}
PLACED = CLASSES | {"size": st.sampled_from([None, (3, 4), [9, 2]])}
FOUND = w.localize(MODEL, torch.rand(1, 3, 16, 16), top=2)
# Half precision is refused, as the weights have 32 bits.
WEIGHTED = (torch.float32, torch.float32, torch.float16)
OF_MODELS = [
    *(
        Function(
            function,
            {"activation": "unit: B C h w", "scores": "unit: K C"},
            prepare=scored,
            unit="always",
            dtypes=(torch.float32, torch.float64),
        )
        for function in (w.grad_cam, w.layer_cam, w.bagcams)
    ),
    Function(
        partial(w.class_activation, MODEL, layers=LAYERS),
        IMAGES,
        CLASSES,
        name="class_activation",
        dtypes=WEIGHTED,
        given="layers",
    ),
    Function(
        w.Localizer(MODEL, layers=LAYERS),
        IMAGES,
        PLACED,
        name="Localizer",
        dtypes=WEIGHTED,
        given="layers",
    ),
    Function(
        partial(w.localize, MODEL, layers=LAYERS),
        IMAGES,
        PLACED,
        name="localize",
        dtypes=WEIGHTED,
        given="layers",
    ),
    Function(
        partial(w.find_layers, MODEL), IMAGES, name="find_layers", dtypes=WEIGHTED, given="model"
    ),
    Function(
        partial(w.find_stages, MODEL), IMAGES, name="find_stages", dtypes=WEIGHTED, given="model"
    ),
    Function(
        FOUND.at,
        {},
        {"threshold": FRACTION, "parts": st.sampled_from([None, "all", "largest", "instances"])},
        ("threshold",),
        name="Localization",
    ),
]

REDUCTION = {"reduction": st.sampled_from(["mean", "sum", "none"])}
PIXELS = {"probability": "unit: B H W"}
PROBABILITIES = {"logits": FLAG} | REDUCTION
LABEL = {"label": "label: B"}
LOSSES = [
    Function(losses.area_loss, PIXELS, PROBABILITIES, gradient=("probability",)),
    Function(losses.entropy_loss, PIXELS, PROBABILITIES, gradient=("probability",)),
    Function(
        losses.weighted_entropy_loss,
        PIXELS,
        {"mean": FRACTION, "std": st.sampled_from([0.1, 1]), "detach_weight": FLAG} | PROBABILITIES,
        gradient=("probability",),
    ),
    Function(
        losses.hard_negative_suppression_loss,
        PIXELS | {"boundary": "mask: B H W"},
        {"negative_weight": FRACTION, "suppression": FLAG} | PROBABILITIES,
        gradient=("probability",),
    ),
    Function(
        losses.masked_bce_loss,
        {"logits": "B H W", "target": "target: B H W"},
        {"ignore_index": st.sampled_from([255, 0, 7])} | REDUCTION,
        gradient=("logits",),
    ),
    Function(
        losses.confseg_loss,
        {"auxiliary_map": "B H W", "cam": "B H W"},
        REDUCTION,
        gradient=("auxiliary_map",),
    ),
    Function(
        losses.coaug_loss,
        {"foreground": "B D", "background": "B D", "confident_background": "B D"} | LABEL,
        {"gamma": FRACTION, "delta": FRACTION} | REDUCTION,
        gradient=("foreground", "background", "confident_background"),
    ),
    Function(
        losses.multiplicative_loss,
        {"deep_logits": "B K", "fused_logits": "B K"} | LABEL,
        {"distill": FLAG} | REDUCTION,
        gradient=("deep_logits", "fused_logits"),
    ),
    Function(
        losses.restricted_activation_loss,
        {"logit_map": "B K H W"} | LABEL,
        {"threshold": FRACTION, "gap": FRACTION, "released": FLAG} | REDUCTION,
        ("threshold", "gap"),
        gradient=("logit_map",),
    ),
]

THRESHOLDS = st.sampled_from([[0.2, 0.5], (0.0, 1.0)])
IOUS = st.sampled_from([(0.5,), (0.3, 1)])
LABELED = {"masks": "target: B H W"}
IGNORED = {"ignore_index": st.sampled_from([255, 0, 7])}
BOXED = {"maps": "unit: B H W", "boxes": "boxes: n 4"}
LINES = {"edges": "unit: B H W", "boundaries": "mask: B H W"}
ONE_BOX = {
    "boxes": "corners: B 4", "labels": "label: B", "target_boxes": "boxes: n 4",
    "target_labels": "label: B",
}  # fmt: skip
BEST_BOXES = ONE_BOX | {"boxes": "corners: B K 4", "labels": "label: B K"}
RULE = {"iou": st.sampled_from([0.5, 1]), "inclusive": FLAG}


def no_object(maps, masks):
    return not (masks == 1).any()


def an_image_without_object(maps, masks):
    return not (masks == 1).flatten(1).any(1).all() or no_image(maps)


def no_image(maps, *rest):
    return not len(maps)


def no_line(edges, boundaries):
    return not boundaries.any()


def updated(metric, inputs, nothing, options):
    """Return the function that makes a metric, counts a batch twice and returns all results."""

    def call(*tensors, **chosen):
        new = metric(**chosen)
        new.update(*tensors)
        return new(*tensors), new.compute(), new.details()

    name = metric.func.__name__ if isinstance(metric, partial) else metric.__name__
    return Function(call, inputs, options, name=name, nothing=nothing)


METRICS = [
    Function(
        metrics.count_box_hits,
        BOXED,
        {"ious": IOUS, "thresholds": THRESHOLDS, "all_contours": FLAG},
    ),
    Function(
        metrics.count_box_hits_half_open,
        BOXED | {"maps": "B H W"},
        {"ious": IOUS, "thresholds": THRESHOLDS, "all_components": FLAG},
    ),
    Function(metrics.count_gray_levels, {"maps": "B h w"} | LABELED, IGNORED),
    Function(
        metrics.count_scores,
        {"maps": "unit: B H W"} | LABELED,
        IGNORED | {"thresholds": THRESHOLDS},
    ),
    Function(
        metrics.count_boundary_matches,
        LINES,
        {
            "thresholds": THRESHOLDS,
            "tolerance": st.sampled_from([0, 0.1]),
            "suppress": FLAG,
        },
    ),
    Function(
        metrics.match_boundaries,
        {"predicted": "mask: B H W", "target": "mask: B H W"},
        {"tolerance": st.sampled_from([0, 0.1])},
    ),
    Function(metrics.localization_errors, ONE_BOX, {"inclusive": FLAG}),
    Function(
        metrics.localization_hits,
        BEST_BOXES,
        RULE | {"hit": st.sampled_from([">", ">="])},
        ("hit",),
    ),
    Function(
        metrics.prepare_score_map,
        {"map": "h w"},
        {"size": st.sampled_from([(4, 5), (1, 1)])},
        ("size",),
        unit="always",
    ),
    Function(
        metrics.score_map_boxes,
        {"map": "unit: H W"},
        {"threshold": FRACTION, "all_contours": FLAG},
        ("threshold",),
    ),
    Function(
        metrics.peak_iou,
        {"counts": "count: B 2 256"},
        {"aggregate": st.sampled_from(["pooled", "mean"])},
        nothing=lambda counts: not counts[:, 0].any(),
    ),
    Function(
        metrics.pixel_average_precision,
        {"counts": "count: 2 C"},
        unit="inputs",
        nothing=lambda counts: not counts.any(1).all(),
    ),
    Function(
        metrics.boundary_score,
        {"counts": "count: B 4 2"},
        {"thresholds": st.just([0.2, 0.5])},
        prepare=lambda counts: [counts + counts.roll(1, 1) * torch.tensor([[0], [1], [0], [1]])],
        nothing=lambda counts: not counts[:, 3].sum(0).all(),
    ),
    Function(
        metrics.max_box_acc,
        {"hits": "count: I 2"},
        {"total": st.just(50), "thresholds": st.just(torch.tensor([0.2, 0.5]))},
        ("total", "thresholds"),
        unit="inputs",
    ),
    Function(metrics.thresholds_of, {}, {"step": st.sampled_from([0.1, 1, 0.3])}, ("step",)),
    updated(metrics.MaxBoxAcc, BOXED, no_image, {"thresholds": THRESHOLDS, "half_open": FLAG}),
    updated(metrics.MaxBoxAccV2, BOXED, no_image, {"thresholds": THRESHOLDS, "ious": IOUS}),
    updated(
        metrics.PxAP,
        {"maps": "unit: B H W"} | LABELED,
        no_object,
        IGNORED | {"thresholds": THRESHOLDS},
    ),
    updated(
        metrics.PeakIoU,
        {"maps": "B h w"} | LABELED,
        an_image_without_object,
        IGNORED | {"aggregate": st.sampled_from(["pooled", "mean"])},
    ),
    updated(metrics.BoundaryScore, LINES, no_line, {"thresholds": THRESHOLDS, "suppress": FLAG}),
    updated(metrics.LocalizationErrors, ONE_BOX, no_image, {"inclusive": FLAG}),
    updated(partial(metrics.LocalizationAccuracy, hit=">="), BEST_BOXES, no_image, RULE),
]

STAGES = {"features": "stages: B 4 h1 w1 | B 8 h2 w2"}
NETWORKS = [
    Function(
        module.eval(), inputs, name=type(module).__name__, dtypes=WEIGHTED, unit=unit,
        gradient=tuple(inputs),
    )
    for module, inputs, unit in (
        (nn.ActivationGenerator(4, 3, width=8), {"features": "unit: B 4 h w"}, ""),
        (nn.ConvolutionalHead(4, 3, width=8), {"features": "unit: B 4 h w"}, ""),
        (nn.EdgeHead([4, 8], width=8, size=(5, 6)), STAGES | {"maps": "unit: B H W"}, ""),
        (nn.FeatureList(MODEL, ["1", "2"]), IMAGES, ""),
        (nn.MFFNet([4, 8], 3, stages=2, width=8), STAGES, ""),
        (nn.MultiplicativeChannelAttention([4, 8], width=8), STAGES, ""),
    )
]  # fmt: skip

PICTURE = {"image": "picture: H W 3"}
PICTURES = [
    Function(viz.overlay, PICTURE | {"map": "H W"}, {"alpha": FRACTION}),
    Function(
        viz.draw_boxes,
        PICTURE | {"boxes": "n 4"},
        {"dashed": FLAG, "width": st.sampled_from([None, 1, 5])},
    ),
]

CROPS = [
    Function(
        RandomCrop(8, 6), {"image": "... H W"}, name="RandomCrop", gradient=("image",)
    )
]  # fmt: skip

FUNCTIONS = {
    w: CORE + OF_MODELS,
    data: CROPS,
    losses: LOSSES,
    metrics: METRICS,
    nn: NETWORKS,
    viz: PICTURES,
}
# Public names that take no tensor, or a model that the tests of their own modules vary.
OTHERS = {
    w: {
        "ClassActivation", "Classifier", "ConfSeg", "Gaussian", "GraphOutput", "Instances", "Layers",
        "LocalizerGraph", "OnnxDifferences", "Preprocess",
        "capture",
        "load_classifier",
        "save_onnx",
    },
    data: {
        "Annotation", "CUB", "ILSVRC", "ImageFolder", "ImagePolicy", "OpenImages", "ScoreMaps",
        "UnlabeledFolder", "UnreadableImage", "WsolEvaluation", "read_image",
    },
    losses: set(),
    metrics: {
        "BoundaryResult", "BoxAccuracy", "ErrorRates", "LocalizationError", "LocalizationRates",
        "PeakIoUResult", "PixelPrecision",
    },
    nn: {"Activation", "MFFMaps", "stage_channels"},
    viz: {"contact_sheet", "plot_bars", "plot_curves"},
}  # fmt: skip
