"""Every function on tensors at a usual size: time per image, without anything to compare with.

Inputs: random features, a smooth random CAM and a smooth random image.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F

import wsolrefine as w
from benchmarks.speed.timing import time_in_turn

BATCH, CHANNELS, GRID, SIDE = 8, 112, 28, 112


def calls(
    batch: int, channels: int, grid: int, side: int, device: str
) -> Mapping[str, Callable[[], object]]:
    torch.manual_seed(0)
    coarse = torch.rand(batch, 6, 7, 7, device=device)
    large = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    cam, maps, image = coarse[:, 0], large[:, 0], large[:, 3:]
    features = torch.randn(batch, channels, grid, grid, device=device)
    mask = maps > 0.5
    unary = torch.stack([1 - maps, maps], 1)
    gaussian = w.fit_gaussian(maps)
    tokens = features.flatten(2).mT
    boxes = torch.rand(100, 4, device=device).cumsum(1)
    return {
        "attentive_erasing": partial(w.attentive_erasing, maps),
        "box_iou": partial(w.box_iou, boxes, boxes),
        "coarse_to_fine": partial(w.coarse_to_fine, maps, image),
        "component_boxes": partial(w.component_boxes, mask),
        "confseg": partial(w.confseg, maps),
        "confseg_thresholds": partial(w.confseg_thresholds, maps),
        "connected_components": partial(w.connected_components, mask),
        "conv_crf": partial(w.conv_crf, unary, image),
        "feature_affinity": partial(w.feature_affinity, features, size=(grid, grid)),
        "fit_gaussian": partial(w.fit_gaussian, maps),
        "gaussian_map": partial(w.gaussian_map, gaussian, (side, side)),
        "gppl": partial(w.gppl, maps),
        "gppl_released": partial(w.gppl_released, maps),
        "instance_labels": partial(w.instance_labels, maps, threshold=0.5),
        "label_spreading": partial(w.label_spreading, cam, features, image),
        "largest_box": partial(w.largest_box, mask),
        "minmax": partial(w.minmax, maps),
        "multiply_maps": partial(w.multiply_maps, [maps, cam]),
        "ncut": partial(w.ncut, cam, features),
        "outline": partial(w.outline, mask.byte()),
        "pamr": partial(w.pamr, cam, image),
        "pc1": partial(w.pc1, cam, features),
        "pseudo_boundary": partial(w.pseudo_boundary, maps, image),
        "pseudo_label": partial(w.pseudo_label, maps),
        "scg": partial(w.scg, cam, features),
        "scg_released": partial(w.scg_released, cam, features),
        "self_correlation": partial(w.self_correlation, features),
        "self_correlation_released": partial(w.self_correlation_released, features),
        "sem": partial(w.sem, cam, features),
        "suppress_non_maxima": partial(w.suppress_non_maxima, maps),
        "thin": partial(w.thin, mask),
        "tokens_to_map": partial(w.tokens_to_map, tokens),
        "union_box": partial(w.union_box, mask),
    }


def bench_functions(least_runs: int, device: str) -> list[dict[str, object]]:
    print(f"milliseconds per image, batch {BATCH}, grid {GRID}, image {SIDE}")
    rows: list[dict[str, object]] = []
    for name, call in calls(BATCH, CHANNELS, GRID, SIDE, device).items():
        with torch.inference_mode():
            times = time_in_turn({name: call}, least_runs, device)[name]
        ms = 1e3 * statistics.median(times) / BATCH
        print(f"{name:>26} | {ms:9.3f}", flush=True)
        rows.append({"function": name, "milliseconds per image": ms, "runs": len(times)})
    return rows
