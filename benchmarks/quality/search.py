"""Settings of scg and conv_crf, searched on validation scenes and on photographs to choose on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from benchmarks.quality.counts import Counts, count_rows
from benchmarks.quality.images import Images
from benchmarks.quality.measure import STEPS, prepared
from benchmarks.quality.network import Batch, Network
from benchmarks.quality.rows import COARSE, FINE, MIDDLE, Row, aligned
from wsolrefine import scg
from wsolrefine.localization.methods import CRF_THRESHOLD
from wsolrefine.metrics import max_box_acc, peak_iou, pixel_average_precision


def search(network: Network, kinds: Mapping[str, Sequence[tuple[Images, Tensor]]]) -> None:
    """Print MaxBoxAccV2, PxAP and Peak-IoU of all settings, at their best thresholds.

    One table for each kind of images; those without masks have MaxBoxAccV2 only.
    """
    settings = {**scg_settings(network), **crf_settings(network)}
    for kind, sets in kinds.items():
        images, labels = zip(*sets, strict=True)
        found = count_rows(settings, network, images, labels, with_baselines=False)
        print("MaxBoxAccV2   PxAP Peak-IoU" if kind == "scenes" else f"MaxBoxAccV2 of {kind}")
        for name, counts in found.rows.items():
            print(f"{_line(counts)}  {name}", flush=True)


def _line(counts: Counts) -> str:
    boxes = max_box_acc(counts.every.sum(0), len(counts.every), STEPS).accuracy
    line = f"{100 * boxes:11.1f}"
    if counts.scores is None or counts.gray is None:
        return line
    pixels = pixel_average_precision(counts.scores.sum(0)).average_precision
    return f"{line} {100 * pixels:6.1f} {100 * peak_iou(counts.gray).peak_iou:8.1f}"


def scg_settings(network: Network) -> dict[str, Row]:
    """Return scg over layers and orders, then over thresholds."""
    stages = [(FINE,), (MIDDLE,), (COARSE,), (MIDDLE, COARSE), (FINE, MIDDLE)]
    stages += [(FINE, MIDDLE, COARSE)]
    orders = [(1,), (1, 2), (1, 2, 3)]
    thresholds = [(0.5, 0.3), (0.6, 0.2), (0.6, 0.4), (0.7, 0.3), (0.7, 0.5), (0.8, 0.4)]
    tried = [(some, order, 0.6, 0.3) for some in stages for order in orders]
    tried += [((FINE, MIDDLE), (1, 2), high, low) for high, low in thresholds]
    return {
        f"scg, {' '.join(network.grids[stage] for stage in some)}, orders {order}, "
        f"foreground {high}, background {low}": partial(
            _scg, stages=some, orders=order, foreground=high, background=low
        )
        for some, order, high, low in tried
    }


def crf_settings(network: Network) -> dict[str, Row]:
    """Return conv_crf over thresholds of two maps, then over scales and windows."""
    fine, values = ((4, 2, 1), 11), (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
    found: dict[str, Row] = {}
    for name, map in (("cam", _cam), ("scg", partial(_scg, stages=(FINE, MIDDLE)))):
        tried: list[tuple[float, tuple[int, ...], int]] = [(value, *fine) for value in values]
        tried += [(CRF_THRESHOLD, (1,), side) for side in (11, 21)] if name == "scg" else []
        for threshold, scales, window in tried:
            text = f"{name}, conv_crf at {threshold}, scales {scales}, window {window}"
            found[text] = partial(_crf, map=map, at=threshold, scales=scales, window=window)
    return found


def _cam(batch: Batch) -> Tensor:
    return batch.cam


def _scg(batch: Batch, stages: tuple[int, ...], **options: Any) -> Tensor:
    return scg(batch.cam, batch.stages(*stages), **options)


def _crf(batch: Batch, map: Row, at: float, scales: tuple[int, ...], window: int) -> Tensor:
    maps = prepared(map(batch))
    return aligned(maps, batch.colors, at, scales=scales, kernel_size=window)
