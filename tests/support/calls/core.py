"""The functions of tensors."""

from math import inf

import numpy as np
import torch

import wsolrefine as w
from tests.support import wrong_values as kinds
from tests.support.calls.call import BOXES, CAM, FEATURES, IMAGE, MAPS, MASK, of
from tests.support.wrong_values import Kind

RELEASED = {
    "first_threshold": kinds.any_number,
    "second_threshold": kinds.any_number,
    "second_weight": kinds.not_negative,
    "order": kinds.count,
}
CALLS = [
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
    of(
        w.feature_affinity,
        {"features": FEATURES, "size": (3, 4)},
        {"size": kinds.size, "power": kinds.positive},
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
            "min_area": Kind(3, inf, legal=kinds.NUMBERS - {"minus one"} | {"infinity", "huge"}),
        },
    ),
    of(
        w.instance_labels,
        {"maps": CAM, "threshold": 0.5},
        {
            "threshold": kinds.any_number,
            "min_prominence": kinds.not_negative,
            "min_area": kinds.fraction,
        },
    ),
    of(
        w.label_spreading,
        {"cam": CAM, "features": FEATURES},
        {
            "image": Kind(IMAGE, legal={"None"}),
            "alpha": Kind(0.25, np.float32(0.25), legal={"zero", "a half"}),
            "size": kinds.size.or_none(),
        },
    ),
    of(w.largest_box, {"mask": MASK}),
    of(w.minmax, {"maps": CAM}),
    of(
        w.multiply_maps,
        {"maps": [CAM, CAM]},
        {
            "powers": Kind(
                None, (1, 0.5), [np.float32(2), 3], legal={"None", "array"}, either={"tensor"}
            )
        },
    ),
    of(
        w.ncut,
        {"cam": CAM, "features": FEATURES},
        {
            "threshold": Kind(0.25, np.float32(0.25), legal={"zero", "a half"}),
            "size": kinds.size.or_none(),
        },
    ),
    of(w.outline, {"mask": MASK.byte()}),
    of(
        w.pamr,
        {"maps": CAM, "image": IMAGE},
        {
            "iterations": Kind(3, np.int64(3), legal={"zero", "two"}),
            "dilations": Kind((2, 1), [1], np.array([2, 1]), legal={"tuple", "list"}),
        },
    ),
    of(w.pc1, {"cam": CAM, "features": FEATURES}, {"size": kinds.size.or_none()}),
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
]
